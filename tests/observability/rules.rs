//! The file of alert rules, as it is written: one alert behind another, each key on a line of its own.

use super::read;

pub(crate) const RULES: &str = "charts/tidegate/rules/tidegate.yaml";

/// One alert.
#[derive(Debug, Default)]
pub(crate) struct Alert {
    pub(crate) name: String,
    pub(crate) expr: String,
    pub(crate) lasts: String,
    pub(crate) severity: String,
    pub(crate) summary: String,
    pub(crate) description: String,
    pub(crate) runbook: String,
}

/// All alerts, in the order of the file.
pub(crate) fn alerts() -> Vec<Alert> {
    let text = read(RULES);
    let mut alerts: Vec<Alert> = Vec::new();
    let mut lines = text.lines().filter(|line| !line.trim_start().starts_with('#')).peekable();
    while let Some(line) = lines.next() {
        let Some((key, value)) = line.trim_start_matches([' ', '-']).split_once(':') else { continue };
        let value = value.trim();
        if key == "alert" {
            alerts.push(Alert { name: value.to_owned(), ..Alert::default() });
            continue;
        }
        let Some(alert) = alerts.last_mut() else { continue };
        let field = match key {
            "expr" => &mut alert.expr,
            "for" => &mut alert.lasts,
            "severity" => &mut alert.severity,
            "summary" => &mut alert.summary,
            "description" => &mut alert.description,
            "runbook" => &mut alert.runbook,
            _ => continue,
        };
        *field = value.trim_matches('"').to_owned();
        if value == "|" {
            let depth = line.len() - line.trim_start().len();
            let is_inside = |line: &&str| line.len() - line.trim_start().len() > depth;
            *field = std::iter::from_fn(|| lines.next_if(is_inside)).flat_map(|line| [line, "\n"]).collect();
        }
    }
    alerts
}
