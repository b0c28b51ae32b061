//! What a unit is used for: one verb for each, and what it says when it is so.

use clap::Subcommand;
use outband_pool_api::{Client, Duty, Label, Unit, UnitChange};

use crate::failure::Failure;
use crate::output::{Output, say};

#[derive(Debug, Subcommand)]
pub(crate) enum Life {
    /// Say what placement can ask for, such as rack=r7; name- takes a label away
    Label {
        /// Its name or id
        unit: String,
        #[arg(required = true, value_name = "NAME=VALUE|NAME-")]
        labels: Vec<String>,
    },
    /// Place nothing new there; what is there stays in use
    Cordon {
        /// Its name or id
        unit: String,
    },
    /// Place volumes there again
    Uncordon {
        /// Its name or id
        unit: String,
    },
    /// Place nothing new there, and list what has to leave
    Drain {
        /// Its name or id
        unit: String,
    },
    /// Place nothing new there, and expect it to go away for a while
    Maintenance {
        /// Its name or id
        unit: String,
    },
    /// Hold it back until it has to replace another
    Spare {
        /// Its name or id
        unit: String,
    },
    /// Use it as any other again; this ends a quarantine too
    Resume {
        /// Its name or id
        unit: String,
    },
    /// Forget a unit that does not answer, with the records of its volumes; nothing is erased
    Forget {
        /// Its name or id
        unit: String,
        /// Its name once more; a person is asked for it
        #[arg(long, value_name = "NAME")]
        confirm: Option<String>,
    },
}

pub(crate) async fn run(life: Life, client: &Client, output: &Output) -> Result<(), Failure> {
    let (unit, change) = match life {
        Life::Label { unit, labels } => (unit, labelled(&labels)?),
        Life::Cordon { unit } => (unit, used_as(Duty::Cordoned)),
        Life::Uncordon { unit } => (unit, used_as(Duty::Active)),
        Life::Drain { unit } => (unit, used_as(Duty::Draining)),
        Life::Maintenance { unit } => (unit, used_as(Duty::Maintenance)),
        Life::Spare { unit } => (unit, used_as(Duty::Spare)),
        Life::Resume { unit } => (unit, UnitChange { trust: true, ..used_as(Duty::Active) }),
        Life::Forget { unit, confirm } => {
            let what = format!("forget {unit} and the records of all its volumes");
            let name = crate::command::typed_name(confirm, &what)?;
            client.forget_unit(&unit, &name).await?;
            if !output.is_json() {
                say(&format!("{unit} is forgotten"));
            }
            return Ok(());
        }
    };
    output.show(&client.change_unit(&unit, &change).await?, so);
    Ok(())
}

fn used_as(duty: Duty) -> UnitChange {
    UnitChange { duty: Some(duty), ..UnitChange::default() }
}

fn labelled(texts: &[String]) -> Result<UnitChange, Failure> {
    let mut change = UnitChange::default();
    for text in texts {
        match text.strip_suffix('-') {
            Some(name) if !text.contains('=') => change.labels.insert(name.to_owned(), None),
            _ => {
                let label = text.parse::<Label>();
                let Label(name, value) = label.map_err(|bad| Failure::Usage(bad.to_string()))?;
                change.labels.insert(name, Some(value))
            }
        };
    }
    Ok(change)
}

fn so(unit: &Unit) -> String {
    let mut text = format!("{} is {}", unit.name, unit.duty);
    let labels = labels(unit);
    if !labels.is_empty() {
        text.push_str(&format!("; {labels}"));
    }
    if !unit.must_leave.is_empty() {
        text.push_str(&format!("\nstill there: {}", unit.must_leave.join(" ")));
    }
    text
}

pub(crate) fn labels(unit: &Unit) -> String {
    let labels: Vec<String> =
        unit.labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
    labels.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_is_set_or_taken_away() {
        let change = labelled(&["rack=r7".into(), "media-".into(), "a=b-".into()]).unwrap();
        assert_eq!(change.labels["rack"].as_deref(), Some("r7"));
        assert_eq!(change.labels["media"], None);
        assert_eq!(change.labels["a"].as_deref(), Some("b-"));
        assert!(labelled(&["rack".into()]).is_err());
    }
}
