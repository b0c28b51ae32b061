//! The console in Debian's headless Chromium, against the pool of `outband demo --stay`: what a person
//! does there works (`cargo xtask browser`), and what it looks like (`cargo xtask screens`).

mod chromium;
mod lab;
mod scenes;

use std::fs;
use std::path::Path;

use crate::failure::{Failure, root};
use crate::{target, tools};
use chromium::{Chromium, Look};
use lab::Lab;

const PROGRAMS: [(&str, &str); 1] = [("chromium", "chromium")];
/// Where pictures of the pages are.
const SCREENS: &str = "docs/screens";
/// Light and dark at a desk, and on a phone.
const LOOKS: [(&str, Look); 3] = [
    ("light", Look { width: 1100, height: 760, is_dark: false }),
    ("dark", Look { width: 1100, height: 760, is_dark: true }),
    ("phone", Look { width: 390, height: 760, is_dark: false }),
];

/// Everything a person does, in order; each step says what it expected.
pub(crate) fn run() -> Result<(), Failure> {
    with_browser(scenes::play)
}

/// Every page in every look, into `docs/screens/`.
pub(crate) fn screens() -> Result<(), Failure> {
    let folder = root().join(SCREENS);
    fs::create_dir_all(&folder).map_err(Failure::at(&folder))?;
    with_browser(|browser, lab| {
        take(browser, &folder, "login", &lab.page("/login"))?;
        scenes::log_in(browser, lab)?;
        scenes::work(browser, lab)?;
        let volume = lab.page(&scenes::some_volume(browser, lab)?);
        let unit = lab.page(&scenes::some_unit(browser, lab)?);
        let pages = ["", "units", "volumes", "hosts", "jobs", "events", "doctor", "audit"];
        for page in pages {
            let name = if page.is_empty() { "overview" } else { page };
            take(browser, &folder, name, &lab.page(&format!("/{page}")))?;
        }
        take(browser, &folder, "unit", &unit)?;
        take(browser, &folder, "volume", &volume)
    })
}

fn take(browser: &mut Chromium, folder: &Path, name: &str, url: &str) -> Result<(), Failure> {
    for (look, how) in LOOKS {
        browser.look(how)?;
        browser.open(url)?;
        let path = folder.join(format!("{name}-{look}.png"));
        fs::write(&path, browser.picture()?).map_err(Failure::at(&path))?;
        println!("{}", path.display());
    }
    Ok(())
}

fn with_browser(
    act: impl FnOnce(&mut Chromium, &Lab) -> Result<(), Failure>,
) -> Result<(), Failure> {
    tools::ensure_programs(&PROGRAMS)?;
    let folder = target::folder()?;
    let lab = Lab::start(folder.path())?;
    let mut browser = Chromium::start(folder.path())?;
    let ended = act(&mut browser, &lab);
    drop(browser);
    lab.stop()?;
    ended
}
