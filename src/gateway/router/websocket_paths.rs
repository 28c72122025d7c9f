//! The paths of `[[websocket]]` routes: exact ones, and those that end with `/*`.

use http::Uri;

use crate::gateway::path::{Readings, is_canonical};

/// The paths, by the numbers of their routes.
#[derive(Debug, Clone, Default)]
pub(super) struct WebsocketPaths(Vec<RoutePath>);

/// To one reader the path means a route, to another one nothing or another route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ambiguous;

/// The path of one route, as it is written and as a reader that decodes everything reads it.
#[derive(Debug, Clone)]
struct RoutePath {
    written: String,
    folded: String,
    /// It is what a path begins with, and something follows.
    is_beginning: bool,
}

impl WebsocketPaths {
    /// Adds the path of one more route. `socketio` is the path of Engine.IO.
    ///
    /// # Errors
    /// No request has this path, or another route takes it.
    pub(super) fn add(&mut self, path: &str, socketio: &str) -> Result<(), String> {
        let beginning = path.strip_suffix("/*").map(|parent| format!("{parent}/"));
        let route = RoutePath {
            folded: folded(beginning.as_deref().unwrap_or(path)),
            is_beginning: beginning.is_some(),
            written: beginning.unwrap_or_else(|| path.to_owned()),
        };
        // A route that is refused has its number too, so that each key is named as it stands in the file.
        let earlier =
            self.0.iter().any(|other| (&other.folded, other.is_beginning) == (&route.folded, route.is_beginning));
        let written = route.written.clone();
        self.0.push(route);
        if written.contains('*') {
            return Err(format!("is {path:?}; '*' stands for the end of a path, behind a slash: \"/doc/*\""));
        }
        if !is_path(&written) {
            return Err(format!(
                "is {path:?}; a path begins with a slash and has no query, no '..', '//', ';', '\\' and nothing encoded \
                 that need not be"
            ));
        }
        let engine = socketio.trim_end_matches('/');
        if written.starts_with(engine) && !engine.is_empty() {
            return Err(format!("is {path:?}, which socketio.path {socketio:?} takes"));
        }
        if earlier { Err(format!("is {path:?} a second time")) } else { Ok(()) }
    }

    /// The number of a route that is there for this path, rather than for all there are.
    pub(super) fn taking(&self, path: &str) -> Option<usize> {
        let takes = |route: &RoutePath| match route.is_beginning {
            true => route.written != "/" && path.starts_with(&route.written),
            false => route.written == path,
        };
        self.0.iter().position(takes)
    }

    /// The number of the route that this path has to every reader. `None`: it has none to any of them.
    pub(super) fn find(&self, readings: &Readings<'_>) -> Result<Option<usize>, Ambiguous> {
        if readings.climbs() {
            // Where it leads depends on the reader.
            let may_be_one = self.0.iter().any(|route| readings.may_lead_to(&route.written));
            return if may_be_one { Err(Ambiguous) } else { Ok(None) };
        }
        let written = self.best(readings.written(), |route| &route.written);
        let Some(other) = readings.folded() else { return Ok(written) };
        let folded = self.best(&other, |route| &route.folded);
        if written != folded { Err(Ambiguous) } else { Ok(written) }
    }

    /// An exact path is better than the beginning of one, and a longer beginning better than a shorter one.
    fn best(&self, path: &str, spelling: impl Fn(&RoutePath) -> &str) -> Option<usize> {
        let fits = |route: &RoutePath| match path.strip_prefix(spelling(route)) {
            Some("") => !route.is_beginning,
            Some(rest) => route.is_beginning && rest.bytes().any(|byte| byte != b'/'),
            None => false,
        };
        let fitting = self.0.iter().enumerate().filter(|(_, route)| fits(route));
        fitting.max_by_key(|(_, route)| (!route.is_beginning, spelling(route).len())).map(|(number, _)| number)
    }
}

fn folded(path: &str) -> String {
    Readings::of(path).folded().unwrap_or_else(|| path.to_owned())
}

/// Whether a request can have this path, and it has one meaning. A request's target has no spaces, and its query is not part
/// of the path.
pub(super) fn is_path(text: &str) -> bool {
    text.starts_with('/') && is_canonical(text) && text.parse::<Uri>().is_ok_and(|uri| uri.path() == text)
}
