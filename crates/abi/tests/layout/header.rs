//! The C headers of this machine, through its C compiler. What is not there is skipped, and said so.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::fmt::Write as _;
use std::fs;
use std::io::{self, Write as _};
use std::process::Command;

use swiommu_abi::Field;

use crate::ours::{Struct, numbers, structs};

/// `iommufd_test.h` is installed nowhere; with `CPATH` it is compared too.
const HEADERS: &[&str] = &["linux/iommufd.h", "linux/vfio.h", "iommufd_test.h"];

/// A C compiler and a folder to use it in.
struct Compiler {
    folder: tempfile::TempDir,
}

impl Compiler {
    /// The machine's compiler, if it can make a program.
    fn find() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let compiler = Self { folder };
        compiler.run("int main(void) { return 0; }").ok()?;
        Some(compiler)
    }

    /// What the compiler prints for this text, or its complaints.
    fn compile(&self, text: &str, arguments: &[&str]) -> Result<String, String> {
        let source = self.folder.path().join("source.c");
        fs::write(&source, text).unwrap();
        let compiler = env::var("CC").unwrap_or_else(|_| "cc".to_owned());
        output(Command::new(compiler).arg("-w").args(arguments).arg(source))
    }

    /// What a program prints, or the compiler's complaints.
    fn run(&self, text: &str) -> Result<String, String> {
        let program = self.folder.path().join("program");
        self.compile(text, &["-o", program.to_str().unwrap()])?;
        output(&mut Command::new(&program))
    }

    /// The headers that there are, and what they define.
    fn headers(&self) -> (Vec<&'static str>, Definitions) {
        let mut present = Vec::new();
        let mut text = String::new();
        for header in HEADERS {
            if let Ok(defined) = self.compile(&include(header), &["-E", "-dD"]) {
                present.push(*header);
                text += &defined;
            }
        }
        (present, Definitions::of(&text))
    }
}

/// What a command that succeeds prints, or the complaints of one that does not.
fn output(command: &mut Command) -> Result<String, String> {
    let output = command.output().map_err(|error| error.to_string())?;
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() {
        Ok(text(&output.stdout))
    } else {
        Err(text(&output.stderr))
    }
}

fn include(header: &str) -> String {
    format!("#include <{header}>\n")
}

/// The header that a name of ours is in.
fn header_of(name: &str) -> &'static str {
    let name = name.to_lowercase();
    if name.contains("vfio_") && !name.starts_with("iommu") {
        "linux/vfio.h"
    } else if ["mock_", "iommu_test", "selftest"]
        .iter()
        .any(|word| name.contains(word))
    {
        "iommufd_test.h"
    } else {
        "linux/iommufd.h"
    }
}

/// The words of the headers, and those within each struct.
struct Definitions {
    words: BTreeSet<String>,
    structs: BTreeMap<String, BTreeSet<String>>,
}

impl Definitions {
    /// `text` is what the preprocessor made of the headers, so without comments.
    fn of(text: &str) -> Self {
        let mut structs = BTreeMap::new();
        for (start, _) in text.match_indices("struct ") {
            // A struct of a header ends at the brace that stands at the start of a line.
            let definition = text[start..].split("\n}").next().unwrap_or_default();
            if let Some((name, body)) = definition["struct ".len()..].split_once('{') {
                structs.insert(name.trim().to_owned(), words(body));
            }
        }
        Self {
            words: words(text),
            structs,
        }
    }

    /// Why a struct of ours cannot be compared, if so.
    fn lacks(&self, ours: &Struct) -> Option<String> {
        let (name, member) = split_name(ours.name);
        let Some(body) = self.structs.get(name) else {
            return Some(ours.name.to_owned());
        };
        let mut needed = member
            .into_iter()
            .chain(ours.fields.iter().map(|field| field.name));
        let missing = needed.find(|word| !body.contains(*word))?;
        Some(format!("{} (no {missing})", ours.name))
    }
}

fn words(text: &str) -> BTreeSet<String> {
    text.split(|c: char| !c.is_alphanumeric() && c != '_')
        .map(str::to_owned)
        .collect()
}

/// A struct, and the member of its union that is meant.
fn split_name(name: &str) -> (&str, Option<&str>) {
    match name.split_once('.') {
        Some((name, member)) => (name, Some(member)),
        None => (name, None),
    }
}

/// C statements that print the sizes and offsets of a struct.
fn print_struct(ours: &Struct) -> String {
    let (name, member) = split_name(ours.name);
    let whole = match member {
        Some(member) => format!("((struct {name} *)0)->{member}"),
        None => format!("(*(struct {name} *)0)"),
    };
    let mut text = format!("printf(\"{} %zu\\n\", sizeof({whole}));\n", ours.name);
    for Field { name: field, .. } in &ours.fields {
        writeln!(
            text,
            "printf(\"{}.{field} %zu %zu\\n\", (size_t)&({whole}.{field}) - (size_t)&{whole}, sizeof({whole}.{field}));",
            ours.name
        )
        .unwrap();
    }
    text
}

/// The lines that the program should print.
fn expected_lines(ours: &Struct) -> Vec<String> {
    let field = |field: &Field| {
        format!(
            "{}.{} {} {}",
            ours.name, field.name, field.offset, field.size
        )
    };
    let size = format!("{} {}", ours.name, ours.size);
    std::iter::once(size)
        .chain(ours.fields.iter().map(field))
        .collect()
}

/// Whether a printed line is as expected. A whole struct may be larger than ours: a newer header appends fields.
fn agrees(printed: &str, expected: &str) -> bool {
    let is_struct = printed.starts_with(char::is_lowercase);
    let size = |line: &str| match line.split(' ').collect::<Vec<_>>()[..] {
        [name, size] if is_struct => size.parse().ok().map(|size: usize| (name.to_owned(), size)),
        _ => None,
    };
    match (size(printed), size(expected)) {
        (Some((theirs, larger)), Some((ours, size))) => theirs == ours && larger >= size,
        _ => printed == expected,
    }
}

/// Says what libtest would swallow.
fn say(text: &str) {
    io::stderr()
        .write_all(format!("{text}\n").as_bytes())
        .unwrap();
}

#[test]
fn the_headers_of_this_machine_agree() {
    let (structs, numbers) = (structs(), numbers());
    let Some(compiler) = Compiler::find() else {
        say("C headers: skipped, there is no C compiler");
        return;
    };
    let (present, definitions) = compiler.headers();

    let mut program = String::new();
    let mut expected = Vec::new();
    let mut skipped = Vec::new();
    for ours in &structs {
        if let Some(lack) = definitions.lacks(ours) {
            skipped.push((header_of(ours.name), lack));
        } else {
            program += &print_struct(ours);
            expected.extend(expected_lines(ours));
        }
    }
    for (name, number) in &numbers {
        if definitions.words.contains(name) {
            writeln!(program, "printf(\"{name} %u\\n\", (unsigned int)({name}));").unwrap();
            expected.push(format!("{name} {number}"));
        } else {
            skipped.push((header_of(name), name.clone()));
        }
    }

    let includes: String = present.iter().map(|header| include(header)).collect();
    let program =
        format!("#include <stdio.h>\n{includes}int main(void) {{\n{program}return 0;\n}}\n");
    let printed = compiler
        .run(&program)
        .unwrap_or_else(|complaints| panic!("{complaints}"));
    let printed: Vec<_> = printed.lines().collect();
    assert_eq!(printed.len(), expected.len());
    for (printed, expected) in printed.into_iter().zip(expected) {
        assert!(
            agrees(printed, &expected),
            "the header has {printed}, we have {expected}"
        );
    }

    let all = structs.len() + numbers.len();
    say(&format!(
        "C headers: {} of {all} structs and numbers agree",
        all - skipped.len()
    ));
    for header in HEADERS {
        let names: Vec<_> = skipped
            .iter()
            .filter(|(of, _)| of == header)
            .map(|(_, name)| name.as_str())
            .collect();
        if !present.contains(header) {
            say(&format!(
                "C headers: {} skipped, there is no {header}",
                names.len()
            ));
        } else if !names.is_empty() {
            say(&format!(
                "C headers: {} skipped, {header} lacks {}",
                names.len(),
                names.join(", ")
            ));
        }
    }
}
