//! Cases of the parser: a text and what is made of it.
//!
//! `source` gives `tree`, or `errors` as users see them; with `places: yes` every node shows its place.
//! `programs` has one program a line and gives `found`: the tree or the messages of each. `files: a.h b.bt`
//! names sections that are the files which the script can read; `folders: lib` those that are folders.
//! Further attributes: `params: 1 two` for `$1`..., `btf: no`, `include-dirs: dir`, `include-files: a.h`.

use skep_ir::{SourceMap, diag};
use skep_trace::syntax::{LoadError, Loader, ParseOptions, dump, parse};
use testkit::{Case, Outcome};

/// Files in the sections of a case.
struct Files<'a>(&'a Case);

impl Files<'_> {
    fn words(&self, attribute: &str) -> Vec<String> {
        self.0.attribute(attribute).unwrap_or("").split_whitespace().map(str::to_owned).collect()
    }
}

impl Loader for Files<'_> {
    fn read(&mut self, path: &str) -> Result<String, LoadError> {
        if !self.words("files").iter().any(|f| f == path) {
            return Err(LoadError::Missing);
        }
        let text = self.0.required(path).map_err(LoadError::Failed)?;
        match text.strip_prefix("REFUSED ") {
            Some(why) => Err(LoadError::Refused(why.trim_end().to_owned())),
            None => Ok(text.to_owned()),
        }
    }

    fn list(&mut self, path: &str) -> Result<Option<Vec<String>>, LoadError> {
        if !self.words("folders").iter().any(|f| f == path) {
            return Ok(None);
        }
        let prefix = format!("{path}/");
        let inside = |f: &String| f.strip_prefix(&prefix).is_some_and(|rest| !rest.contains('/'));
        Ok(Some(self.words("files").into_iter().filter(inside).collect()))
    }
}

fn run(case: &Case) -> Outcome {
    let mut files = Files(case);
    let options = ParseOptions {
        params: files.words("params"),
        have_btf: case.attribute("btf") != Some("no"),
        include_dirs: files.words("include-dirs"),
        include_files: files.words("include-files"),
    };
    let places = case.attribute("places") == Some("yes");
    if let Some(programs) = case.section("programs") {
        let mut found = String::new();
        for program in programs.lines().filter(|l| !l.is_empty()) {
            let mut sources = SourceMap::default();
            let file = sources.add_file("stdin", program);
            let (script, errors) = parse(&mut sources, file, &options, &mut files);
            found += &format!("{program}\n");
            for error in &errors {
                let place = error.loc.map_or(String::new(), |loc| diag::position(&sources, loc));
                found += &format!("    {}: {}\n", place.trim_start_matches("stdin:"), error.message);
            }
            if errors.is_empty() {
                let tree = dump::dump(&script, places.then_some(&sources));
                found.extend(tree.lines().map(|l| format!("    {l}\n")));
            }
        }
        return Ok(vec![("found", found)]);
    }
    let mut sources = SourceMap::default();
    let file = sources.add_file("case.bt", case.required("source")?.trim_end());
    let (script, errors) = parse(&mut sources, file, &options, &mut files);
    if errors.is_empty() {
        Ok(vec![("tree", dump::dump(&script, places.then_some(&sources)))])
    } else {
        Ok(vec![("errors", diag::render_all(&errors, &sources, false))])
    }
}

fn main() -> std::process::ExitCode {
    testkit::run("tests/cases/parse", run)
}
