//! Why a file is not TOML, in plain words, with what to write instead.

/// Keys whose value is not shown, because it may be a secret.
const SECRETS: [&str; 5] = ["secret", "token", "passphrase", "password", "url_from"];
const QUOTES: [char; 2] = ['"', '\''];

/// `at`: where the parser stopped, `message`: what it says.
pub(super) fn in_plain_words(text: &str, at: usize, message: &str) -> String {
    let begin = text.get(..at).and_then(|before| before.rfind('\n')).map_or(0, |end| end + 1);
    let line = text.get(begin..).and_then(|rest| rest.lines().next()).unwrap_or_default().trim();
    let message = message.trim().replace('\n', ", ");
    if let Some(key) = message.split_once("duplicate key `").and_then(|(_, rest)| rest.split('`').next()) {
        return twice(text.get(..begin).unwrap_or_default(), line, key);
    }
    let (key, value) = line.split_once('=').map_or((line, None), |(key, value)| (key.trim(), Some(value.trim())));
    let key = if may_have_a_login(key) { "…" } else { key };
    match value {
        Some(value) if !line.starts_with('[') => of_value(key, value, &message),
        _ => of_line(line, &message),
    }
}

/// `before`: the lines before.
fn twice(before: &str, line: &str, key: &str) -> String {
    let heading = line.split('#').next().unwrap_or_default().trim();
    if heading.starts_with('[') {
        let first = before.lines().position(|line| line.trim().starts_with(heading));
        let first = first.map_or_else(String::new, |at| format!(" (the first is in line {})", at + 1));
        return format!("the table {heading} is written twice{first}; put the keys of both below one of them");
    }
    format!("the key {key:?} is written twice in one table; keep one of them")
}

/// In a line that is neither `KEY = VALUE` nor a whole `[TABLE]`.
fn of_line(line: &str, message: &str) -> String {
    if line.starts_with("//") || line.starts_with(';') || line.starts_with("/*") || line.starts_with("--") {
        return "a comment begins with #".to_owned();
    }
    if line.starts_with('{') {
        return "this is not TOML; write tables as [TABLE], and below it KEY = VALUE, each in a line of its own"
            .to_owned();
    }
    if message.starts_with("invalid array") {
        return "the list that begins above is not whole; write a comma between its values, and ] behind the last one"
            .to_owned();
    }
    if line.starts_with('[') {
        return "the name of a table stands between brackets, alone in its line: [TABLE], or [[TABLE]] for one of several"
            .to_owned();
    }
    if let Some((key, value)) = line.split_once(':') {
        return match value.trim() {
            "" => format!("a table is written [{}]", key.trim()),
            value => format!("between a key and its value stands =, not a colon: {}", assigned(key.trim(), value)),
        };
    }
    match line.split_once(char::is_whitespace) {
        Some((key, value)) if message.contains('=') => {
            format!("there is no = behind the key: {}", assigned(key, value.trim()))
        }
        _ => format!("a line is KEY = VALUE, [TABLE] or a # comment ({message})"),
    }
}

/// In the value of a key.
fn of_value(key: &str, value: &str, message: &str) -> String {
    let first = value.chars().next();
    let quote = first.filter(|first| QUOTES.contains(first));
    if message.starts_with("invalid escape") {
        return format!(
            "{key}: within \"…\" a backslash begins an escape; write the text between '…' instead, or two backslashes for each"
        );
    }
    if first.is_none_or(|first| first == '#') {
        return format!("{key} has no value; write one behind the =, or remove the line");
    }
    if value.contains(['“', '”', '„', '’', '‘']) {
        return format!("{key}: text stands between straight quotes, \"…\", not typographic ones");
    }
    if let Some(quote) = quote {
        let closed = value.char_indices().skip(1).find(|(_, letter)| *letter == quote).map(|(at, _)| at);
        return match closed {
            None => format!("{key}: the quote {quote} is not closed; write another one at the end of the text"),
            Some(_) => {
                format!("{key}: something stands behind the value in the same line; remove it, or put # before it")
            }
        };
    }
    match first {
        Some('[') => {
            format!("{key}: the list is not whole; write a comma between its values, and ] behind the last one")
        }
        Some('{') => format!(
            "{key}: the table is not whole; write it in one line, with a comma between its keys: {{ KEY = VALUE, KEY = VALUE }}"
        ),
        _ if message.starts_with("number too") => format!("{key}: the number is too large"),
        _ => of_bare_value(key, value),
    }
}

fn of_bare_value(key: &str, value: &str) -> String {
    let bare = value.split(['#', ';', ',']).next().unwrap_or_default().trim();
    match bare.to_ascii_lowercase().as_str() {
        word @ ("true" | "false") if bare != word => format!("{key}: write {word}, in small letters"),
        "true" | "false" => format!("{key}: something stands behind the value in the same line; remove it"),
        "yes" | "on" => format!("{key}: write true in its place"),
        "no" | "off" => format!("{key}: write false in its place"),
        _ if bare.parse::<f64>().is_ok() => {
            format!("{key}: something stands behind the value in the same line; remove it, or put # before it")
        }
        _ if is_secret(key) => {
            format!(
                "{key}: text needs quotes, and a secret is only named: {{ env = \"NAME\" }} or {{ file = \"PATH\" }}"
            )
        }
        _ if may_have_a_login(value) => format!("text needs quotes: {}", assigned(key, value)),
        _ => format!("text needs quotes: {}", assigned(key, bare)),
    }
}

/// The line as it should be.
fn assigned(key: &str, value: &str) -> String {
    let value = value.trim_end_matches([',', ';']).trim();
    if is_secret(key) || may_have_a_login(value) {
        return format!("{key} = …");
    }
    let whole = value.starts_with(['[', '{']) || value.parse::<f64>().is_ok() || ["true", "false"].contains(&value);
    let bare = value.trim_matches(QUOTES);
    if whole { format!("{key} = {value}") } else { format!("{key} = \"{bare}\"") }
}

/// Is it a URL with a user and a password in it, or a part of one?
fn may_have_a_login(text: &str) -> bool {
    text.contains('@')
}

fn is_secret(key: &str) -> bool {
    SECRETS.iter().any(|word| key.to_ascii_lowercase().contains(word))
}
