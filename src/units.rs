//! Values in the configuration: durations, sizes, secrets. Every table uses these types.

use std::{
    env, fmt, fs, io,
    ops::RangeInclusive,
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use zeroize::Zeroizing;

use crate::fault::Fault;

/// A span of time, written `"250ms"`, `"30s"`, `"5m"`, `"2h"`, `"1d"` or `"1m30s"`. `"0s"` means off where a table says
/// so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Period(pub Duration);

/// A number of bytes, written `"512B"`, `"16KB"`, `"1MB"` (powers of 1000) or `"64KiB"`, `"1MiB"` (powers of 1024).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(pub u64);

/// A type whose values have a unit.
trait HasUnit: FromStr<Err = String> {
    /// What it is, with its article.
    const KIND: &str;
    /// How one is written.
    const EXAMPLE: &str;
}

impl HasUnit for Period {
    const KIND: &str = "a duration";
    const EXAMPLE: &str = "for example \"60s\" (ms, s, m, h, d)";
}

impl HasUnit for ByteSize {
    const KIND: &str = "a size";
    const EXAMPLE: &str = "for example \"16KB\" (B, KB, MB, GB, KiB, MiB, GiB)";
}

/// Why a text is none of these.
fn not_read<T: HasUnit>(text: &str) -> String {
    let why = if text.bytes().all(|byte| byte.is_ascii_digit()) {
        "needs a unit"
    } else {
        "is a whole number with its unit, without blanks"
    };
    format!("is {text:?}; {} {why}, {}", T::KIND, T::EXAMPLE)
}

fn too_large(text: &str) -> String {
    format!("is {text:?}, which is too large")
}

/// Is this the content of a PEM file, where its path should stand? It may be a private key, so it is not to be shown.
#[must_use]
pub fn is_pem(path: &Path) -> bool {
    path.as_os_str().as_encoded_bytes().starts_with(b"-----BEGIN")
}

/// Where a secret is to be read from. The secret itself never stands in the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum SecretSource {
    /// The name of an environment variable that holds it, byte for byte.
    Env(String),
    /// A file that holds it; one line end at the end is cut off.
    File(PathBuf),
}

/// A secret that was read. It is wiped from memory when dropped, and never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<Vec<u8>>);

/// Why a secret is not available.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The variable is not set.
    #[error("the environment variable {0} is not set; set it to the secret")]
    Unset(String),
    /// The file cannot be read.
    #[error("the secret file {} cannot be read: {source}; {}", .path.display(), what_to_do(.path, .source))]
    File {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// There is nothing in it.
    #[error("the secret in {0} is empty")]
    Empty(String),
}

/// What to do about a file of a secret that cannot be read.
fn what_to_do(path: &Path, error: &io::Error) -> String {
    match env::current_dir() {
        _ if error.kind() == io::ErrorKind::PermissionDenied => {
            "give the user that runs Tidegate read access".to_owned()
        }
        Ok(folder) if path.is_relative() => {
            format!("a relative path begins at the working directory, {}: write the whole path", folder.display())
        }
        _ => "write the secret to it, or name another file".to_owned(),
    }
}

/// Units from long to short, with their length in milliseconds.
const PERIOD_UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];

/// Units with their size in bytes; from large to small, thousands first.
const SIZE_UNITS: [(&str, u64); 7] = [
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("KB", 1000),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("B", 1),
];

impl Period {
    /// The setting is off.
    pub const OFF: Self = Self(Duration::ZERO);

    /// A number of seconds.
    #[must_use]
    pub const fn from_secs(secs: u64) -> Self {
        Self(Duration::from_secs(secs))
    }

    /// The time of a key that cannot be switched off.
    ///
    /// # Errors
    /// It is `"0s"`.
    pub fn above_zero(self, key: impl Into<String>) -> Result<Duration, Fault> {
        if self.0.is_zero() { Err(Fault::new(key, "is \"0s\"; it must be longer")) } else { Ok(self.0) }
    }
}

impl ByteSize {
    /// The size of a key that has bounds.
    ///
    /// # Errors
    /// It is beyond them.
    pub fn within(self, key: &str, bounds: &RangeInclusive<u64>) -> Result<u64, Fault> {
        if bounds.contains(&self.0) {
            return Ok(self.0);
        }
        let (min, max) = (Self(*bounds.start()), Self(*bounds.end()));
        Err(Fault::new(key, format!("is {self}; it must be between {min} and {max}")))
    }
}

impl FromStr for Period {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || not_read::<Self>(text);
        let mut rest = text;
        let mut millis = 0_u64;
        while !rest.is_empty() {
            let (number, behind) = leading_number(rest).ok_or_else(wrong)?;
            let unit_len = behind.find(|c: char| c.is_ascii_digit()).unwrap_or(behind.len());
            let (unit, behind) = behind.split_at(unit_len);
            let (_, factor) = PERIOD_UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(wrong)?;
            let part = number.checked_mul(*factor);
            millis = part.and_then(|part| millis.checked_add(part)).ok_or_else(|| too_large(text))?;
            rest = behind;
        }
        if text.is_empty() { Err(wrong()) } else { Ok(Self(Duration::from_millis(millis))) }
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut millis = u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX);
        if millis == 0 {
            return f.write_str("0s");
        }
        // One unit if it divides evenly. One minute is "60s", like "90s".
        let readable = |unit: &str, factor: u64| millis.is_multiple_of(factor) && (unit != "m" || millis > factor);
        let even = PERIOD_UNITS.iter().find(|(unit, factor)| readable(unit, *factor));
        if let Some((unit, factor)) = even {
            return write!(f, "{}{unit}", millis / factor);
        }
        for (unit, factor) in PERIOD_UNITS {
            if millis >= factor {
                write!(f, "{}{unit}", millis / factor)?;
                millis %= factor;
            }
        }
        Ok(())
    }
}

impl FromStr for ByteSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || not_read::<Self>(text);
        let (number, unit) = leading_number(text).ok_or_else(wrong)?;
        let (_, factor) = SIZE_UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(wrong)?;
        number.checked_mul(*factor).map(Self).ok_or_else(|| too_large(text))
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let even = SIZE_UNITS.iter().find(|(_, factor)| self.0 > 0 && self.0.is_multiple_of(*factor));
        let (unit, factor) = even.unwrap_or(&("B", 1));
        write!(f, "{}{unit}", self.0 / factor)
    }
}

fn leading_number(text: &str) -> Option<(u64, &str)> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, rest) = text.split_at(digits);
    Some((number.parse().ok()?, rest))
}

/// Reads what `FromStr` reads. A bare number is an error that names the missing unit.
struct WithUnit<T>(std::marker::PhantomData<T>);

impl<T: HasUnit> WithUnit<T> {
    fn bare<E: de::Error>(number: impl fmt::Display) -> E {
        E::custom(format_args!("is {number}; {} needs a unit and quotes, {}", T::KIND, T::EXAMPLE))
    }
}

impl<T: HasUnit> de::Visitor<'_> for WithUnit<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in quotes, {}", T::KIND, T::EXAMPLE)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<T, E> {
        Err(Self::bare(number))
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<T, E> {
        Err(Self::bare(number))
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<T, E> {
        Err(Self::bare(number))
    }
}

macro_rules! written_with_a_unit {
    ($type:ident, $pattern:literal, $example:literal) => {
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_any(WithUnit(std::marker::PhantomData))
            }
        }

        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl JsonSchema for $type {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($type).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "pattern": $pattern, "examples": [$example] })
            }
        }
    };
}

written_with_a_unit!(Period, r"^([0-9]+(ms|s|m|h|d))+$", "60s");
written_with_a_unit!(ByteSize, r"^[0-9]+(B|KB|MB|GB|KiB|MiB|GiB)$", "16KB");

/// The keys of a source's table. As a type, so that an unknown key is refused while its position is known.
#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "snake_case")]
enum SourceKey {
    Env,
    File,
}

/// Reads the table of a source. A value in its place may be the secret itself, so no error shows it.
struct SourceTable;

impl SourceTable {
    const WANTED: &str = "is a secret, which is not written here because configurations are copied and shown; name where it \
                          is: { env = \"NAME\" } or { file = \"PATH\" }";
}

impl<'de> de::Visitor<'de> for SourceTable {
    type Value = SecretSource;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{ env = \"NAME\" } or { file = \"PATH\" }")
    }

    fn visit_str<E: de::Error>(self, _: &str) -> Result<SecretSource, E> {
        Err(E::custom(Self::WANTED))
    }

    fn visit_i64<E: de::Error>(self, _: i64) -> Result<SecretSource, E> {
        Err(E::custom(Self::WANTED))
    }

    fn visit_u64<E: de::Error>(self, _: u64) -> Result<SecretSource, E> {
        Err(E::custom(Self::WANTED))
    }

    fn visit_f64<E: de::Error>(self, _: f64) -> Result<SecretSource, E> {
        Err(E::custom(Self::WANTED))
    }

    fn visit_map<A: de::MapAccess<'de>>(self, mut table: A) -> Result<SecretSource, A::Error> {
        let (mut env, mut file) = (None, None);
        while let Some(key) = table.next_key()? {
            match key {
                // TOML has no null: it comes from a later source of the configuration, which takes a key back by it.
                SourceKey::Env => env = table.next_value()?,
                SourceKey::File => file = table.next_value()?,
            }
        }
        match (env, file) {
            (Some(name), None) => Ok(SecretSource::Env(name)),
            (None, Some(path)) => Ok(SecretSource::File(path)),
            (Some(_), Some(_)) => Err(de::Error::custom("has env and file; keep one of them")),
            (None, None) => Err(de::Error::custom("needs env = \"NAME\" or file = \"PATH\"")),
        }
    }
}

impl<'de> Deserialize<'de> for SecretSource {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SourceTable)
    }
}

impl SecretSource {
    /// Reads the secret.
    ///
    /// # Errors
    /// It is not there, cannot be read, or is empty.
    pub fn read(&self) -> Result<Secret, SecretError> {
        let bytes = match self {
            Self::Env(name) => {
                use std::os::unix::ffi::OsStringExt as _;
                env::var_os(name).ok_or_else(|| SecretError::Unset(name.clone()))?.into_vec()
            }
            Self::File(path) => {
                let mut bytes = fs::read(path).map_err(|source| SecretError::File { path: path.clone(), source })?;
                if bytes.ends_with(b"\n") {
                    bytes.pop();
                    if bytes.ends_with(b"\r") {
                        bytes.pop();
                    }
                }
                bytes
            }
        };
        if bytes.is_empty() { Err(SecretError::Empty(self.to_string())) } else { Ok(Secret(Zeroizing::new(bytes))) }
    }
}

impl fmt::Display for SecretSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Env(name) => write!(f, "the environment variable {name}"),
            Self::File(path) => write!(f, "the file {}", path.display()),
        }
    }
}

impl Secret {
    /// The secret itself. Values derived from it must not be shown either.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// The secret itself, still wiped when dropped.
    #[must_use]
    pub fn into_bytes(self) -> Zeroizing<Vec<u8>> {
        self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn durations_and_sizes_as_humans_write_them() {
        for (text, millis, written) in [
            ("250ms", 250, "250ms"),
            ("30s", 30_000, "30s"),
            ("90s", 90_000, "90s"),
            ("1m", 60_000, "60s"),
            ("2m", 120_000, "2m"),
            ("1m30s", 90_000, "90s"),
            ("24h", 86_400_000, "1d"),
            ("0s", 0, "0s"),
            ("1s500ms", 1500, "1500ms"),
        ] {
            let period: Period = text.parse().unwrap();
            assert_eq!(period.0, Duration::from_millis(millis), "{text}");
            assert_eq!(period.to_string(), written);
        }
        for (text, bytes, written) in [
            ("512B", 512, "512B"),
            ("16KB", 16_000, "16KB"),
            ("1MB", 1_000_000, "1MB"),
            ("1000KB", 1_000_000, "1MB"),
            ("64KiB", 65_536, "64KiB"),
            ("0B", 0, "0B"),
        ] {
            let size: ByteSize = text.parse().unwrap();
            assert_eq!(size.0, bytes, "{text}");
            assert_eq!(size.to_string(), written);
        }
    }

    #[test]
    fn what_has_no_unit_is_told_so() {
        for text in ["60", "", "99999999999999999999"] {
            let error = text.parse::<Period>().unwrap_err();
            assert!(error.starts_with(&format!("is {text:?}; a duration needs a unit")), "{error}");
        }
        for text in ["16", "", "99999999999999999999"] {
            assert!(text.parse::<ByteSize>().unwrap_err().contains("a size needs a unit"), "{text}");
        }
    }

    #[test]
    fn what_has_another_unit_or_another_number_is_not_told_to_have_none() {
        for text in ["s", "60 s", "-1s", "1.5s", "60sec", "99999999999999999999s"] {
            let error = text.parse::<Period>().unwrap_err();
            assert!(error.contains("; a duration is a whole number with its unit, without blanks"), "{error}");
        }
        for text in ["KB", "16 KB", "16kb", "1.5MB", "1M"] {
            assert!(
                text.parse::<ByteSize>().unwrap_err().contains("; a size is a whole number with its unit"),
                "{text}"
            );
        }
        assert_eq!(
            "9999999999999999999d".parse::<Period>().unwrap_err(),
            "is \"9999999999999999999d\", which is too large"
        );
        assert_eq!("99999999999999GB".parse::<ByteSize>().unwrap_err(), "is \"99999999999999GB\", which is too large");
    }

    #[test]
    fn a_secret_is_read_whole_and_never_shown() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), " 12345678 \r\n").unwrap();
        let source = SecretSource::File(file.path().to_owned());
        let secret = source.read().unwrap();
        assert_eq!(secret.expose(), b" 12345678 ");
        assert_eq!(format!("{secret:?}"), "[redacted]");
        fs::write(file.path(), "\n").unwrap();
        assert!(source.read().unwrap_err().to_string().ends_with("is empty"));
        let unset = SecretSource::Env("TIDEGATE_TEST_NEVER_SET".to_owned());
        assert!(unset.read().unwrap_err().to_string().contains("TIDEGATE_TEST_NEVER_SET is not set"));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(millis in 0..u64::MAX / 2, bytes: u64) {
            let period = Period(Duration::from_millis(millis));
            prop_assert_eq!(period.to_string().parse::<Period>(), Ok(period));
            prop_assert_eq!(ByteSize(bytes).to_string().parse::<ByteSize>(), Ok(ByteSize(bytes)));
        }
    }
}
