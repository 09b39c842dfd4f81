//! The text of a file as the value of a parameter: one argument of a program holds 128 KiB at most.

use std::fs::File;
use std::io::{self, Read};

use crate::failure::{Failure, Problem};

/// Larger texts are not read, in bytes.
const LARGEST: u64 = 2 << 20;
const CODE: &str = "parameter-file";

/// What stands for standard input.
pub const STANDARD_INPUT: &str = "-";

/// The whole text of a file, or of standard input.
pub fn read(parameter: &str, file: &str) -> Result<String, Failure> {
    let (bytes, shown) = if file == STANDARD_INPUT {
        (bounded(io::stdin().lock()), "standard input")
    } else {
        (File::open(file).and_then(bounded), file)
    };
    let refused = |message: String, remedy: &str| {
        let message = format!("{message}, for parameter \"{parameter}\"");
        Err(Failure::Problem(Problem::new(CODE, message).remedy(remedy)))
    };
    match bytes {
        Err(error) => refused(
            format!("cannot read {shown}: {error}"),
            "name a file that is there and that you may read, or `-` for standard input",
        ),
        Ok(bytes) if bytes.len() as u64 > LARGEST => refused(
            format!("{shown} is larger than {LARGEST} bytes"),
            "divide it, and run the operation once for each part",
        ),
        Ok(bytes) => match String::from_utf8(bytes) {
            Ok(text) if !text.contains('\0') => Ok(text),
            _ => refused(
                format!("{shown} is no text in UTF-8"),
                "name a file that holds text",
            ),
        },
    }
}

/// No more than shows that it is too large.
fn bounded(from: impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(LARGEST + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_read_to_the_byte_and_what_is_none_is_refused_with_the_file_and_a_remedy() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, bytes: &[u8]| {
            let path = folder.path().join(name);
            std::fs::write(&path, bytes).unwrap();
            path.to_str().unwrap().to_owned()
        };
        let largest = vec![b'a'; usize::try_from(LARGEST).unwrap()];
        assert_eq!(
            read("yaml", &file("text", b"a: |\n  b\n\n")).unwrap(),
            "a: |\n  b\n\n"
        );
        assert_eq!(
            read("yaml", &file("largest", &largest)).unwrap().len(),
            largest.len()
        );
        let larger = [&largest[..], b"a"].concat();
        let folder_itself = folder.path().to_str().unwrap().to_owned();
        for (file, said) in [
            (file("larger", &larger), "larger than 2097152 bytes"),
            (file("latin", b"caf\xe9"), "no text"),
            (file("binary", b"a\0b"), "no text"),
            (format!("{folder_itself}/none"), "No such file"),
            (folder_itself, "Is a directory"),
        ] {
            let error = read("yaml", &file).unwrap_err().to_string();
            for part in ["error[parameter-file]", "\"yaml\"", &file, said, "remedy: "] {
                assert!(error.contains(part), "no {part} in {error}");
            }
        }
    }
}
