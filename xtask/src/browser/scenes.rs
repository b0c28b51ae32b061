//! What a person does on the console, and what is then seen.

use super::chromium::{Chromium, Look};
use super::lab::Lab;
use crate::failure::Failure;

const PAGES: [&str; 8] =
    ["/", "/units", "/volumes", "/hosts", "/jobs", "/events", "/doctor", "/audit"];
const DESK: Look = Look { width: 1100, height: 760, is_dark: false };

pub(super) fn play(browser: &mut Chromium, lab: &Lab) -> Result<(), Failure> {
    browser.look(DESK)?;
    step("a page without a session leads to the login", || {
        browser.open(&lab.page("/volumes"))?;
        browser.until("location.pathname === '/login'")
    })?;
    step("a wrong token is refused, and the right one lets in", || {
        browser.send("/login", &[("token", "oba_wrong")])?;
        browser.until("document.body.innerText.includes('not valid')")?;
        log_in(browser, lab)
    })?;
    step("no page has an error in its script, and none asks anybody else", || {
        policy(browser, lab)
    })?;
    step("a new volume appears by itself", || volume_appears(browser, lab))?;
    step("figures move while a host works", || work(browser, lab))?;
    step("a volume's page tells how long its commands took", || figures(browser, lab))?;
    step("a unit is cordoned and used again, and its labels change", || duties(browser, lab))?;
    step("a preview says where a volume would go, and makes none", || preview(browser, lab))?;
    step("who has changed what is found by its object", || audited(browser, lab))?;
    step("a volume is deleted only by its typed name", || typed_name(browser, lab))?;
    step("what is searched for is shown as text", || as_text(browser, lab))?;
    step("pages are whole on a phone", || phone(browser, lab))?;
    step("two administrators see each other's changes", || two(browser, lab))?;
    step("after the logout there is nothing to see", || {
        browser.open(&lab.page("/"))?;
        browser.send("/logout", &[])?;
        browser.open(&lab.page("/units"))?;
        browser.until("location.pathname === '/login'")
    })
}

fn step(what: &str, act: impl FnOnce() -> Result<(), Failure>) -> Result<(), Failure> {
    act().map_err(|why| Failure::wrong(format!("{what}: {why}")))?;
    println!("ok: {what}");
    Ok(())
}

pub(super) fn log_in(browser: &mut Chromium, lab: &Lab) -> Result<(), Failure> {
    browser.open(&lab.page("/login"))?;
    browser.send("/login", &[("token", &lab.token)])?;
    browser.until("location.pathname === '/' && document.querySelector('.health') !== null")
}

fn policy(browser: &mut Chromium, lab: &Lab) -> Result<(), Failure> {
    for page in PAGES {
        browser.open(&lab.page(page))?;
        // The script is there when it has opened its stream, and scripts in the page are not let run.
        browser.until("document.getElementById('connection').innerText === 'live'")?;
        browser.value("document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=\"window.isBad=true\">')")?;
        browser.until(
            "performance.getEntriesByType('resource').every(one => one.name.startsWith(location.origin))",
        )?;
        browser.until("window.isBad === undefined")?;
    }
    Ok(())
}

/// While the page lies open, somebody makes a volume by the command line.
fn volume_appears(browser: &mut Chromium, lab: &Lab) -> Result<(), Failure> {
    let host = some_host(browser, lab)?;
    browser.open(&lab.page("/volumes"))?;
    browser.value("window.isThis = true")?;
    lab.outband(&["volume", "create", "appears", "--size", "16M", "--host", &host])?;
    browser.until("document.getElementById('volumes').innerText.includes('appears')")?;
    browser.until("document.getElementById('volumes').innerText.includes('granted')")?;
    browser.until("window.isThis === true")
}

fn some_host(browser: &mut Chromium, lab: &Lab) -> Result<String, Failure> {
    browser.open(&lab.page("/hosts"))?;
    let first = browser.value("document.querySelector('#hosts tbody td').innerText")?;
    Ok(first.as_str().unwrap_or_default().to_owned())
}

/// The path of the first granted volume's page.
pub(super) fn some_volume(browser: &mut Chromium, lab: &Lab) -> Result<String, Failure> {
    browser.open(&lab.page("/volumes"))?;
    let first = browser.value(
        "[...document.querySelectorAll('#volumes tbody tr')].find(row => \
         row.innerText.includes('granted')).querySelector('a').getAttribute('href')",
    )?;
    Ok(first.as_str().unwrap_or_default().to_owned())
}

/// A host reads; the overview's figure leaves 0 without anybody loading it anew.
pub(super) fn work(browser: &mut Chromium, lab: &Lab) -> Result<(), Failure> {
    let path = some_volume(browser, lab)?;
    let volume = path.rsplit('/').next().unwrap_or_default();
    browser.open(&lab.page("/"))?;
    browser.value("window.isThis = true")?;
    lab.outband(&["bench", &format!("volume:{volume}"), "--secs", "6s"])?;
    browser.until(
        "document.getElementById('overview').querySelectorAll('.plot polyline')[0]\
         .getAttribute('points').split(' ').some(point => Number(point.split(',')[1]) < 90)",
    )?;
    browser.until("window.isThis === true")
}

/// The page lies open while a host reads; nobody loads it anew.
fn figures(browser: &mut Chromium, lab: &Lab) -> Result<(), Failure> {
    let path = some_volume(browser, lab)?;
    let volume = path.rsplit('/').next().unwrap_or_default();
    browser.open(&lab.page(&path))?;
    browser.value("window.isThis = true")?;
    lab.outband(&["bench", &format!("volume:{volume}"), "--secs", "4s"])?;
    let text = "document.getElementById('figures').innerText";
    browser
        .until(&format!("{text}.includes('Reads') && {text}.includes('since the unit serves')"))?;
    browser.until("document.querySelectorAll('#figures table.bars rect').length > 0")?;
    browser.until("document.querySelector('pre').previousElementSibling.textContent === 'Copy'")?;
    browser.until("window.isThis === true")
}

/// The path of the first unit's page.
pub(super) fn some_unit(browser: &mut Chromium, lab: &Lab) -> Result<String, Failure> {
    browser.open(&lab.page("/units"))?;
    let first = browser.value("document.querySelector('#units h2 a').getAttribute('href')")?;
    Ok(first.as_str().unwrap_or_default().to_owned())
}

fn duties(browser: &mut Chromium, lab: &Lab) -> Result<(), Failure> {
    let path = some_unit(browser, lab)?;
    browser.open(&lab.page(&path))?;
    browser.send(&format!("{path}/duty"), &[("duty", "cordoned")])?;
    browser.until("document.querySelector('.said').innerText === 'It is cordoned now.'")?;
    browser.send(&format!("{path}/duty"), &[("duty", "active")])?;
    browser.until("document.querySelector('.said').innerText === 'It is active now.'")?;
    browser.send(&format!("{path}/label"), &[("name", "rack"), ("value", "r7")])?;
    browser.until("document.getElementById('unit').innerText.includes('rack=r7')")?;
    browser.send(&format!("{path}/label"), &[("name", "rack"), ("value", "")])?;
    browser.until("!document.getElementById('unit').innerText.includes('rack=r7')")
}

fn preview(browser: &mut Chromium, lab: &Lab) -> Result<(), Failure> {
    browser.open(&lab.page("/volumes"))?;
    browser.value("document.getElementById('size').value = '16M'")?;
    browser.value("document.getElementById('name').value = 'perhaps'")?;
    browser.value("document.querySelector('button[formaction]').click()")?;
    browser.until("document.getElementById('placed').innerText.startsWith('It would go to')")?;
    browser.until("document.getElementById('name').value === 'perhaps'")?;
    browser.until("!document.getElementById('volumes').innerText.includes('perhaps')")
}

fn audited(browser: &mut Chromium, lab: &Lab) -> Result<(), Failure> {
    browser.open(&lab.page("/audit?object=appears"))?;
    browser.until("document.querySelectorAll('#audit tbody tr').length > 0")?;
    browser.until(
        "[...document.querySelectorAll('#audit tbody tr')].every(row => \
         row.innerText.includes('appears'))",
    )
}

fn typed_name(browser: &mut Chromium, lab: &Lab) -> Result<(), Failure> {
    let page = lab.page("/volumes/appears");
    browser.open(&page)?;
    browser.send("/volumes/appears/delete", &[("confirm", "appear")])?;
    browser.until("document.querySelector('.problem').innerText.includes('type the name')")?;
    browser.send("/volumes/appears/delete", &[("confirm", "appears")])?;
    browser.until("location.pathname === '/volumes'")?;
    browser.until("!document.getElementById('volumes').innerText.includes('appears')")
}

fn as_text(browser: &mut Chromium, lab: &Lab) -> Result<(), Failure> {
    let script = "%22%3E%3Cscript%3Ewindow.isBad%3Dtrue%3C%2Fscript%3E";
    browser.open(&lab.page(&format!("/events?q={script}")))?;
    browser.until("window.isBad === undefined && document.getElementById('q').value.length > 20")
}

fn phone(browser: &mut Chromium, lab: &Lab) -> Result<(), Failure> {
    browser.look(Look { width: 390, ..DESK })?;
    for page in PAGES {
        browser.open(&lab.page(page))?;
        browser.until("document.documentElement.scrollWidth <= 390")?;
    }
    browser.look(DESK)
}

/// The second one is another session: what it does comes to the first one's open page.
fn two(browser: &mut Chromium, lab: &Lab) -> Result<(), Failure> {
    browser.open(&lab.page("/hosts"))?;
    browser.value("window.isThis = true")?;
    lab.outband(&["host", "add", "second", "--iqn", "iqn.2026-11.local.host:second"])?;
    browser.until("document.getElementById('hosts').innerText.includes('second')")?;
    browser.until("window.isThis === true")?;
    browser.send("/hosts", &[("name", "second"), ("iqn", "iqn.2026-11.local.host:third")])?;
    browser.until("document.querySelector('.problem').innerText.includes('exists already')")
}
