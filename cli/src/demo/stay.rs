//! What to try next, with the real addresses, while the demo's pool keeps running.

use super::hosts::Host;
use super::lab::Lab;
use super::show::Show;

pub(super) fn tell(lab: &Lab, show: &Show, a: &Host, b: &Host) {
    show.heading(&format!("The pool keeps running until you press Ctrl-C: {}", lab.url()));
    show.text("\nIn another terminal, as the administrator:");
    show.block(&administer(lab, b));
    let Ok(connection) = a.connection() else {
        return;
    };
    let portal = connection.portals.first().map_or("", String::as_str);
    let secret = lab.path(&format!("{}.secret", a.name));
    show.text(
        "\nAs host A, with programs from elsewhere (apt install libiscsi-bin qemu-utils \
               qemu-block-extra):",
    );
    show.block(&format!(
        "export LIBISCSI_CHAP_USERNAME={user}\n\
         export LIBISCSI_CHAP_PASSWORD=$(cat {secret})\n\
         iscsi-ls -s -i {iqn} iscsi://{portal}\n\
         qemu-img info --object secret,id=chap,file={secret} --image-opts \
         driver=raw,file.driver=iscsi,file.transport=tcp,file.portal={portal},\
         file.target={target},file.lun={lun},file.initiator-name={iqn},file.user={user},\
         file.password-secret=chap",
        user = connection.chap.user,
        secret = secret.display(),
        iqn = connection.initiator,
        lun = connection.lun,
        target = connection.target,
    ));
}

fn administer(lab: &Lab, b: &Host) -> String {
    let program = std::env::current_exe().unwrap_or_else(|_| "outband".into());
    let volume = &b.volume().name;
    format!(
        "export OUTBAND_STATION={url}\n\
         export OUTBAND_CA={ca}\n\
         export OUTBAND_TOKEN_FILE={token}\n\
         alias outband={program}\n\
         outband pool status\n\
         outband unit ls\n\
         outband volume show {volume}\n\
         outband volume create mine --size 128M --host {host}\n\
         outband cp {program} volume:mine\n\
         outband bench volume:mine --rw randwrite --secs 5s --yes-erase\n\
         outband volume rm mine --yes-erase",
        url = lab.url(),
        ca = lab.ca().display(),
        token = lab.admin_token().display(),
        program = program.display(),
        host = b.name,
    )
}
