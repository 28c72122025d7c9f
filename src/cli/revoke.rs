//! `tidegate revoke`: revokes a token, a user or a socket at the operator's address of a running node.

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde_json::json;
use tokio::{net::TcpStream, time::timeout};

use super::{
    configuration::{FileArgs, load, operator_address},
    failure::{Failure, RevokeError},
    output::{clean_message, print},
};
use crate::{
    config::{Config, load::Sources},
    units::{Period, Secret, SecretSource},
};

/// How long the node may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// Its answer has some hundred bytes.
const BODY_MAX_BYTES: usize = 64 * 1024;

const EXAMPLES: &str = "\
Examples:
  tidegate revoke tidegate.toml --user ada
  tidegate revoke --jti 4f1c2b --for 1h
  tidegate revoke --socket 8V6xTnZ0q3bVQn0sAAAB

Revoked are: of a user every token issued until now, a token by its claim jti, or the socket of a
client with the token that it has shown. Sessions end within a second, and the tokens are refused for
the time of --for, which should be as long as tokens are good. It cannot be taken back. The running
node of this configuration is asked, at admin.address with admin.token; with [redis] all nodes obey.";

/// Revoke a token, all tokens of a user, or a socket, at the running node
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    #[command(flatten)]
    whom: Whom,
    /// For how long [default: 30d, of a socket 1h]
    #[arg(long = "for", value_name = "TIME", value_parser = lasts)]
    lasts: Option<Period>,
    #[command(flatten)]
    file: FileArgs,
}

/// Exactly one of them.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct Whom {
    /// The token with this jti
    #[arg(long, value_name = "ID")]
    jti: Option<String>,
    /// All tokens that this user has
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// The socket with this id
    #[arg(long, value_name = "ID")]
    socket: Option<String>,
}

/// What the node answers.
#[derive(Debug, Deserialize)]
struct Done {
    until: String,
    sessions: usize,
    reach: String,
}

/// What it answers instead.
#[derive(Debug, Deserialize)]
struct Refused {
    message: String,
}

pub(super) fn revoke(args: Args) -> Result<(), Failure> {
    let (loaded, _) = load(args.file, Sources::default())?;
    let (address, token) = operator(&loaded.config)?;
    let Whom { jti, user, socket } = args.whom;
    let names = [("jti", jti), ("user", user), ("socket", socket)];
    let (kind, name) = names.into_iter().find_map(|(kind, name)| Some((kind, name?))).unwrap_or_default();
    let mut body = json!({ kind: name });
    if let Some(lasts) = args.lasts {
        body["for"] = lasts.to_string().into();
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(RevokeError::from)?;
    let asked = async { timeout(PATIENCE, post(address, &token, body.to_string())).await };
    let done = runtime.block_on(asked).unwrap_or(Err(RevokeError::Slow(address)))?;
    Ok(print(&format!("{}\n", told(kind, &name, &done)))?)
}

/// Where the node listens for its operator, and the token.
fn operator(config: &Config) -> Result<(SocketAddr, Secret), RevokeError> {
    if !config.auth.revoke {
        return Err(RevokeError::Off);
    }
    let token = config.admin.token.as_ref().map(SecretSource::read).ok_or(RevokeError::NoToken)?;
    Ok((operator_address(config), token?))
}

async fn post(address: SocketAddr, token: &Secret, body: String) -> Result<Done, RevokeError> {
    let reached = |source| RevokeError::Unreached { address, source };
    let stream = TcpStream::connect(address).await.map_err(reached)?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let mut bearer = header::HeaderValue::from_bytes(&[b"Bearer ", token.expose()].concat())?;
    bearer.set_sensitive(true);
    let request = Request::post("/revoke")
        .header(header::HOST, address.to_string())
        .header(header::AUTHORIZATION, bearer)
        .header(header::CONTENT_TYPE, "application/json")
        .body(Full::new(Bytes::from(body)))?;
    // A connection that breaks fails the request.
    tokio::spawn(connection);
    let answer = sender.send_request(request).await?;
    let status = answer.status();
    let body = Limited::new(answer.into_body(), BODY_MAX_BYTES).collect().await;
    let body = body.map_err(|error| match error.downcast::<hyper::Error>() {
        Ok(broken) => RevokeError::Broken(*broken),
        Err(_) => RevokeError::Foreign { address, status },
    })?;
    let body = body.to_bytes();
    if status == StatusCode::OK {
        return serde_json::from_slice(&body).map_err(|_| RevokeError::Foreign { address, status });
    }
    match serde_json::from_slice::<Refused>(&body) {
        Ok(Refused { message }) => Err(RevokeError::Refused { address, status, message: clean_message(&message) }),
        Err(_) => Err(RevokeError::Foreign { address, status }),
    }
}

fn told(kind: &str, name: &str, done: &Done) -> String {
    let Done { until, sessions, reach } = done;
    let sessions = if *sessions == 1 { "1 session".to_owned() } else { format!("{sessions} sessions") };
    let others = match &**reach {
        "nodes" => "the other nodes follow within a second",
        "later" => "the other nodes follow once Redis is there again",
        _ => "there is no [redis], so no other node hears of it",
    };
    let until = clean_message(until);
    format!("revoked {kind} {name} until {until}: it met {sessions} at this node; {others}")
}

fn lasts(text: &str) -> Result<Period, String> {
    text.parse().map_err(|_| "a time needs a unit, for example 90s, 15m, 1h or 30d".to_owned())
}
