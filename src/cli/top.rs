//! `tidegate top`: what a running node does, in a terminal.

mod answers;
mod fetch;
mod head;
mod history;
mod key;
mod look;
mod model;
#[cfg(test)]
mod picture;
mod query;
mod screen;
mod table;
mod terminal;
mod text;
mod view;

use std::{
    env,
    io::{IsTerminal as _, stdout},
    path::PathBuf,
};

use tokio::time::{Instant, sleep};

use self::{fetch::Node, look::Look, model::Model};
use super::{
    configuration::{FileArgs, load, operator_address},
    failure::{Failure, TOKEN_VARIABLE, TopError},
    output::print,
};
use crate::{
    config::{Config, load::Sources},
    units::{Secret, SecretSource},
};

const EXAMPLES: &str = "\
Examples:
  tidegate top
  tidegate top http://10.0.0.7:9464 --token-file /run/secrets/admin-token
  kubectl exec -it chat-0 -c tidegate -- tidegate top
  tidegate top --once | grep refused

Keys: q quit, s sort by another column, r reverse, / search, p pause, arrows scroll, ? help.
The node is asked every second. Where it has an admin.token, that is read from --token-file, else from the
environment variable TIDEGATE_ADMIN_TOKEN, else from where the configuration says, which is looked at
where no URL is named. NO_COLOR=1 switches colours off.";

/// Show what a running node does: sessions, rates, latency, refusals
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// Where the node answers its operator [default: admin.address of the configuration, else http://127.0.0.1:9464]
    #[arg(value_name = "URL")]
    url: Option<String>,
    /// The node's configuration, for admin.address and admin.token [default: /etc/tidegate/tidegate.toml, if it can be used]
    #[arg(long, value_name = "FILE", conflicts_with = "url")]
    config: Option<PathBuf>,
    /// A file with the token of admin.token
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Print one picture as text and exit, as where standard output is no terminal
    #[arg(long)]
    once: bool,
    /// Sort the sessions by this column
    #[arg(long, value_name = "COLUMN", default_value = "received", value_parser = query::by_name)]
    sort: query::Sort,
    /// Only sessions with this in their user, peer or namespaces
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    search: String,
}

pub(super) fn top(args: Args) -> Result<(), Failure> {
    let (url, configured) = whom(args.url, args.config)?;
    let node = Node::new(&url, token(args.token_file, configured)?.as_ref())?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(TopError::Runtime)?;
    let mut model = Model::new(node.url());
    (model.sort, model.search) = (args.sort, args.search);
    if args.once || !stdout().is_terminal() {
        let text = runtime.block_on(once(&node, model))?;
        return Ok(print(&text)?);
    }
    // https://no-color.org: any value but the empty one.
    let look = Look { colour: env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()) };
    Ok(runtime.block_on(async {
        let begin = Instant::now();
        // Who names a wrong URL or no token reads it where it was typed.
        model.hear(node.read(&model.query()).await?, begin.elapsed());
        screen::show(node, model, look, begin).await
    })?)
}

/// Which node, and where the configuration has its token.
fn whom(url: Option<String>, config: Option<PathBuf>) -> Result<(String, Option<SecretSource>), Failure> {
    let of = |config: &Config| (format!("http://{}", operator_address(config)), config.admin.token.clone());
    match (url, config) {
        (Some(url), _) => Ok((url, None)),
        (None, Some(file)) => Ok(of(&load(FileArgs::of(Some(file)), Sources::default())?.0.config)),
        // A file of the system that is not there or is wrong says nothing of a node that runs.
        (None, None) => Ok(match load(FileArgs::of(None), Sources::default()) {
            Ok((loaded, _)) => of(&loaded.config),
            Err(_) => of(&Config::default()),
        }),
    }
}

/// The operator's token, if one is named.
fn token(file: Option<PathBuf>, configured: Option<SecretSource>) -> Result<Option<Secret>, TopError> {
    let is_set = env::var_os(TOKEN_VARIABLE).is_some_and(|token| !token.is_empty());
    let variable = is_set.then(|| SecretSource::Env(TOKEN_VARIABLE.to_owned()));
    let source = file.map(SecretSource::File).or(variable).or(configured);
    Ok(source.as_ref().map(SecretSource::read).transpose()?)
}

/// Asks twice, because rates are what was added in between.
async fn once(node: &Node, mut model: Model) -> Result<String, TopError> {
    /// Where there is no terminal.
    const WIDTH: u16 = 120;
    let begin = Instant::now();
    model.hear(node.read(&model.query()).await?, begin.elapsed());
    sleep(screen::EVERY).await;
    model.hear(node.read(&model.query()).await?, begin.elapsed());
    Ok(view::plain(&model, WIDTH))
}
