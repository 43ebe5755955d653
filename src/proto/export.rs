//! Variables as shells set them.
//!
//! Doesn't know what the variables mean.

use std::collections::BTreeMap;
use std::ffi::OsString;

/// Who reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shell {
    /// sh, bash, dash, zsh, ksh.
    Sh,
    /// fish.
    Fish,
    /// A program: one object, null where a variable is to be unset.
    Json,
}

/// A text that sets each variable, or unsets it (`None`). The error: one isn't text, which no shell could be told.
pub fn text(shell: Shell, variables: &[(&str, Option<OsString>)]) -> Result<String, String> {
    let mut words = BTreeMap::new();
    let mut lines = String::new();
    for (name, value) in variables {
        let value = match value {
            None => None,
            Some(value) => Some(value.to_str().ok_or_else(|| format!("{name} isn't UTF-8 text"))?),
        };
        words.insert(*name, value);
        lines += &match (shell, value) {
            (Shell::Json, _) => String::new(),
            (Shell::Sh, Some(value)) => format!("export {name}='{}'\n", value.replace('\'', "'\\''")),
            (Shell::Sh, None) => format!("unset {name}\n"),
            (Shell::Fish, Some(value)) => {
                format!("set -gx {name} '{}'\n", value.replace('\\', "\\\\").replace('\'', "\\'"))
            }
            (Shell::Fish, None) => format!("set -e {name}\n"),
        };
    }
    match shell {
        Shell::Json => Ok(serde_json::to_string(&words).map_err(|error| error.to_string())? + "\n"),
        Shell::Sh | Shell::Fish => Ok(lines),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_values_stay_what_they_are() {
        let variables = [("A", Some(OsString::from(r#" -j 'x' $y \z "#))), ("B", None)];
        assert_eq!(text(Shell::Sh, &variables).unwrap(), "export A=' -j '\\''x'\\'' $y \\z '\nunset B\n");
        assert_eq!(text(Shell::Fish, &variables).unwrap(), "set -gx A ' -j \\'x\\' $y \\\\z '\nset -e B\n");
        assert_eq!(text(Shell::Json, &variables).unwrap(), "{\"A\":\" -j 'x' $y \\\\z \",\"B\":null}\n");
    }
}
