//! `tidegate man`: manual pages.

use std::{fs, path::PathBuf};

use super::{failure::Failure, output::print};

const EXAMPLES: &str = "\
Examples:
  tidegate man | man -l -
  tidegate man --out /usr/local/share/man/man1";

/// Print the manual page, or write those of all commands into a folder
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// Write tidegate.1 and a page for each command into this folder, which is made where it is missing
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
}

pub(super) fn man(args: Args, command: clap::Command) -> Result<(), Failure> {
    // `tidegate help` says no more than the pages.
    let command = command.disable_help_subcommand(true);
    let Some(folder) = args.out else {
        let mut page = Vec::new();
        clap_mangen::Man::new(command).render(&mut page)?;
        return Ok(print(&String::from_utf8_lossy(&page))?);
    };
    fs::create_dir_all(&folder)
        .and_then(|()| clap_mangen::generate_to(command, &folder))
        .map_err(|source| Failure::Pages { folder, source })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;
    use crate::cli::Cli;

    #[test]
    fn every_command_has_a_page() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("share/man1");
        man(Args { out: Some(out.clone()) }, Cli::command()).unwrap();

        let mut expected: Vec<_> = Cli::command()
            .get_subcommands()
            .map(|command| format!("tidegate-{}.1", command.get_name()))
            .chain(["tidegate.1".to_owned()])
            .collect();
        expected.sort();
        let mut found: Vec<_> =
            fs::read_dir(&out).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        found.sort();
        assert_eq!(found, expected);

        let page = fs::read_to_string(out.join("tidegate-check.1")).unwrap();
        for part in [".TH tidegate-check 1", "\\fB\\-\\-schema\\fR", "Examples:"] {
            assert!(page.contains(part), "no {part} in {page}");
        }
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let folder = file.path().join("man1");
        let refused = man(Args { out: Some(folder.clone()) }, Cli::command()).unwrap_err();
        let message = refused.to_string();
        assert!(message.starts_with(&format!("cannot write the manual pages to {}: ", folder.display())), "{message}");
    }
}
