//! A file system's journey: made by `mke2fs` with real files in it, written to the volume by QEMU,
//! compared there by QEMU, read back by `outband cp`, checked by `e2fsck`, and every file compared.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::login::{Login, USER, text};
use crate::failure::{Failure, root};
use crate::process::{built, captured, finished, tool};
use crate::target::{Target, folder, with};

/// The size of image and volume, as the programs take it.
const SIZE: &str = "256M";
/// Random bytes in one file: many blocks that no two of which are alike.
const RANDOM_LEN: u64 = 96 << 20;
const LIMIT: Duration = Duration::from_secs(180);

pub(super) fn run(login: Login) -> Result<(), Failure> {
    let folder = folder()?;
    let files = folder.path().join("files");
    let image = folder.path().join("made.img");
    let back = folder.path().join("back.img");
    collect_files(&files)?;
    make_image(&files, &image)?;
    let arguments = arguments(folder.path(), login)?;
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    with(folder.path(), &arguments, |target| {
        if login == Login::Chap {
            a_wrong_secret_is_refused(target)?;
        }
        copy_onto(target, login, &image)?;
        read_back(target, login, folder.path(), &back)
    })?;
    check(&back)?;
    let out = folder.path().join("out");
    extract(&back, &out)?;
    compare(&files, &out)
}

fn arguments(folder: &Path, login: Login) -> Result<Vec<String>, Failure> {
    let volume = match login {
        Login::Plain => format!("{} --size {SIZE}iB", text(&folder.join("volume.img"))),
        _ => format!("--memory {SIZE}iB"),
    };
    let volume = volume.split(' ').map(str::to_owned);
    Ok(volume.chain(login.served(folder)?).collect())
}

/// The sources of this project, and one large file that no compression or pattern can hide in.
fn collect_files(folder: &Path) -> Result<(), Failure> {
    copy_sources(&root(), folder)?;
    let path = folder.join("random");
    let random = File::open("/dev/urandom").map_err(Failure::at(Path::new("/dev/urandom")))?;
    let mut file = File::create(&path).map_err(Failure::at(&path))?;
    io::copy(&mut random.take(RANDOM_LEN), &mut file).map_err(Failure::at(&path))?;
    Ok(())
}

fn copy_sources(from: &Path, to: &Path) -> Result<(), Failure> {
    fs::create_dir_all(to).map_err(Failure::at(to))?;
    for entry in fs::read_dir(from).map_err(Failure::at(from))? {
        let entry = entry.map_err(Failure::at(from))?;
        let (name, path) = (entry.file_name(), entry.path());
        if path.is_dir() {
            if !["target", ".git", "corpus"].iter().any(|skipped| name == *skipped) {
                copy_sources(&path, &to.join(name))?;
            }
        } else if path.is_file() {
            fs::copy(&path, to.join(name)).map_err(Failure::at(&path))?;
        }
    }
    Ok(())
}

fn make_image(files: &Path, image: &Path) -> Result<(), Failure> {
    let mut mke2fs = Command::new(tool("mke2fs")?);
    captured(mke2fs.args(["-q", "-t", "ext4", "-d"]).arg(files).arg(image).arg(SIZE), LIMIT)?;
    println!("  mke2fs: {SIZE} with {} files", listed(files)?.len());
    Ok(())
}

fn copy_onto(target: &Target, login: Login, image: &Path) -> Result<(), Failure> {
    let (mut convert, mut compare) = (qemu_img("convert")?, qemu_img("compare")?);
    convert.arg("-n");
    if login.digests() {
        let source = format!("driver=raw,file.driver=file,file.filename={}", text(image));
        let volume = login.image_opts(target);
        convert.args(["--image-opts", "--target-image-opts", &source, &volume]);
        compare.args(["--image-opts", &source, &volume]);
    } else {
        let url = login.url(target);
        convert.args(["-f", "raw", "-O", "raw", text(image), &url]);
        compare.args(["-f", "raw", "-F", "raw", text(image), &url]);
    }
    captured(&mut convert, LIMIT)?;
    println!("  qemu-img convert: written");
    let said = captured(&mut compare, LIMIT)?;
    // Before it come its remarks on commands that the target does not offer.
    println!("  qemu-img compare: {}", said.lines().last().unwrap_or_default());
    Ok(())
}

fn qemu_img(what: &str) -> Result<Command, Failure> {
    let mut command = Command::new(tool("qemu-img")?);
    command.arg(what);
    Ok(command)
}

fn a_wrong_secret_is_refused(target: &Target) -> Result<(), Failure> {
    for url in [target.url().to_owned(), target.url_as(USER, "not-the-secret-16")] {
        let (status, said) = finished(Command::new("iscsi-inq").arg(&url), LIMIT)?;
        if status.success() {
            return Err(Failure::wrong(format!("{url} was let in: {said}")));
        }
    }
    println!("  no secret and a wrong secret: refused");
    Ok(())
}

fn read_back(target: &Target, login: Login, folder: &Path, back: &Path) -> Result<(), Failure> {
    let mut cp = Command::new(built("outband")?);
    cp.args(["cp", target.url()]).arg(back).args(login.copied(folder)?);
    captured(&mut cp, LIMIT)?;
    println!("  outband cp: read back");
    Ok(())
}

fn check(image: &Path) -> Result<(), Failure> {
    captured(Command::new(tool("e2fsck")?).args(["-f", "-n"]).arg(image), LIMIT)?;
    println!("  e2fsck: clean");
    Ok(())
}

fn extract(image: &Path, out: &Path) -> Result<(), Failure> {
    fs::create_dir(out).map_err(Failure::at(out))?;
    let request = format!("rdump / {}", text(out));
    captured(Command::new(tool("debugfs")?).args(["-R", &request]).arg(image), LIMIT)?;
    Ok(())
}

fn compare(made: &Path, out: &Path) -> Result<(), Failure> {
    let (made, mut out) = (listed(made)?, listed(out)?);
    for (name, path) in &made {
        let Some(other) = out.remove(name) else {
            return Err(Failure::wrong(format!("{} did not come back", name.display())));
        };
        let bytes = fs::read(path).map_err(Failure::at(path))?;
        if bytes != fs::read(&other).map_err(Failure::at(&other))? {
            return Err(Failure::wrong(format!("{} came back changed", name.display())));
        }
    }
    println!("  {} files came back as they were, byte by byte", made.len());
    Ok(())
}

/// Every file under `folder`: its name within, and where it lies.
fn listed(folder: &Path) -> Result<BTreeMap<PathBuf, PathBuf>, Failure> {
    let mut files = BTreeMap::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(&next).map_err(Failure::at(&next))? {
            let path = entry.map_err(Failure::at(&next))?.path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(folder).expect("it was found under the folder");
                files.insert(name.to_path_buf(), path);
            }
        }
    }
    Ok(files)
}
