//! A headless Chromium, driven over its DevTools protocol: JSON messages on two pipes, each ended by
//! a zero byte.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use data_encoding::BASE64;
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::process::{Guard, tool};

const ANSWER: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(50);

/// The protocol is on descriptors 3 and 4 there; here they are its standard input and output.
const SHELL: &str = "exec \"$@\" 3<&0 4>&1 </dev/null >/dev/null 2>/dev/null";

/// How a page is looked at.
#[derive(Clone, Copy)]
pub(super) struct Look {
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) is_dark: bool,
}

pub(super) struct Chromium {
    _process: Guard,
    input: ChildStdin,
    messages: Receiver<Value>,
    session: Option<String>,
    last: u64,
}

impl Chromium {
    pub(super) fn start(folder: &Path) -> Result<Self, Failure> {
        let program = tool("chromium")?;
        let profile = format!("--user-data-dir={}", folder.join("chromium").display());
        let mut child = Command::new("sh")
            .args(["-c", SHELL, "sh"])
            .arg(&program)
            // The demo's station has a CA of its own, which no browser knows.
            .args(["--headless=new", "--remote-debugging-pipe", "--ignore-certificate-errors"])
            .args([
                "--no-sandbox",
                "--disable-gpu",
                "--hide-scrollbars",
                "--no-first-run",
                &profile,
            ])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(Failure::at(&program))?;
        let input = child.stdin.take().expect("standard input is a pipe");
        let output = child.stdout.take().expect("standard output is a pipe");
        let (sender, messages) = mpsc::channel();
        thread::spawn(move || {
            for message in BufReader::new(output).split(0).map_while(Result::ok) {
                let _ = serde_json::from_slice(&message).map(|message| sender.send(message));
            }
        });
        let (session, last) = (None, 0);
        let mut browser = Self { _process: Guard(child), input, messages, session, last };
        let target = browser.ask("Target.createTarget", &json!({"url": "about:blank"}))?;
        let attach = json!({"targetId": target["targetId"], "flatten": true});
        let attached = browser.ask("Target.attachToTarget", &attach)?;
        browser.session = attached["sessionId"].as_str().map(str::to_owned);
        browser.ask("Page.enable", &json!({}))?;
        Ok(browser)
    }

    /// One call of the protocol, and its result.
    fn ask(&mut self, method: &str, params: &Value) -> Result<Value, Failure> {
        self.last += 1;
        let mut message = json!({"id": self.last, "method": method, "params": params});
        if let Some(session) = &self.session {
            message["sessionId"] = json!(session);
        }
        let failed = |source| Failure::Io { what: format!("telling Chromium {method}"), source };
        write!(self.input, "{message}\0").and_then(|()| self.input.flush()).map_err(failed)?;
        let deadline = Instant::now() + ANSWER;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let answer = self.messages.recv_timeout(left);
            let answer =
                answer.map_err(|_| Failure::wrong(format!("Chromium does not answer {method}")))?;
            if answer["id"] == self.last {
                return match answer.get("error") {
                    Some(error) => Err(Failure::wrong(format!("{method}: {error}"))),
                    None => Ok(answer["result"].clone()),
                };
            }
        }
    }

    pub(super) fn look(&mut self, look: Look) -> Result<(), Failure> {
        let Look { width, height, is_dark } = look;
        let size =
            json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false});
        self.ask("Emulation.setDeviceMetricsOverride", &size)?;
        let scheme = if is_dark { "dark" } else { "light" };
        let media = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        self.ask("Emulation.setEmulatedMedia", &media).map(drop)
    }

    /// Loads a page, to its end.
    pub(super) fn open(&mut self, url: &str) -> Result<(), Failure> {
        let went = self.ask("Page.navigate", &json!({"url": url}))?;
        if let Some(error) = went["errorText"].as_str() {
            return Err(Failure::wrong(format!("{url}: {error}")));
        }
        self.until("document.readyState === 'complete'")
    }

    /// The value of an expression in the page.
    pub(super) fn value(&mut self, expression: &str) -> Result<Value, Failure> {
        let ask = json!({"expression": expression, "returnByValue": true, "awaitPromise": true});
        let answer = self.ask("Runtime.evaluate", &ask)?;
        match answer.get("exceptionDetails") {
            Some(why) => Err(Failure::wrong(format!("`{expression}`: {why}"))),
            None => Ok(answer["result"]["value"].clone()),
        }
    }

    /// Waits until an expression is true. While a page is being replaced there may be none to ask.
    pub(super) fn until(&mut self, expression: &str) -> Result<(), Failure> {
        let deadline = Instant::now() + ANSWER;
        loop {
            if matches!(self.value(expression), Ok(Value::Bool(true))) {
                return Ok(());
            }
            if Instant::now() >= deadline {
                let page = self.value("document.body.innerText")?;
                return Err(Failure::wrong(format!("`{expression}` never came true on\n{page}")));
            }
            thread::sleep(LOOK);
        }
    }

    /// Fills fields by name in the form that goes to `action`, and sends it.
    pub(super) fn send(&mut self, action: &str, fields: &[(&str, &str)]) -> Result<(), Failure> {
        let form = format!("document.querySelector('form[action=\"{action}\"][method=post]')");
        self.until(&format!("{form} !== null"))?;
        self.value("window.isOld = true")?;
        for (name, value) in fields {
            let field = format!("{form}.elements[{}].value = {}", json!(name), json!(value));
            self.value(&field)?;
        }
        self.value(&format!("{form}.requestSubmit()"))?;
        self.until("!window.isOld && document.readyState === 'complete'")
    }

    /// PNG of what is seen.
    pub(super) fn picture(&mut self) -> Result<Vec<u8>, Failure> {
        let answer = self.ask("Page.captureScreenshot", &json!({"format": "png"}))?;
        let text = answer["data"].as_str().unwrap_or_default();
        BASE64
            .decode(text.as_bytes())
            .map_err(|error| Failure::wrong(format!("Chromium's picture: {error}")))
    }
}
