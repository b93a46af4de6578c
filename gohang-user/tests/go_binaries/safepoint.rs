//! Safe points against what the runtime of the same program says of them.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};

use gohang::golang::{Elf, FileImage, GoVersion, SafePoint, SafePoints, Symbols};

use object::{Object as _, ObjectSymbol as _, SymbolKind};

use super::toolchain::{Options, have, toolchains};

/// Asks its own runtime about the addresses on its standard input, which count from
/// where the file has `main.main`: the argument. It prints, for each, the value of the
/// unsafe-point table, whether there are maps of locals, the file that the function
/// begins in, and the innermost name.
const SOURCE: &str = r#"package main

import (
	"bufio"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"unsafe"
)

type funcInfo struct{ f, datap unsafe.Pointer }

//go:linkname findfunc runtime.findfunc
func findfunc(pc uintptr) funcInfo

//go:linkname pcdatavalue2 runtime.pcdatavalue2
func pcdatavalue2(f funcInfo, table uint32, pc uintptr) (int32, uintptr)

//go:linkname funcdata runtime.funcdata
func funcdata(f funcInfo, i uint8) unsafe.Pointer

func main() {
	f := main
	at := **(**uintptr)(unsafe.Pointer(&f))
	there, _ := strconv.ParseUint(os.Args[1], 10, 64)
	in, out := bufio.NewScanner(os.Stdin), bufio.NewWriter(os.Stdout)
	for in.Scan() {
		pc, _ := strconv.ParseUint(in.Text(), 10, 64)
		pc = pc - there + uint64(at)
		info := findfunc(uintptr(pc))
		if info.f == nil {
			fmt.Fprintln(out, "none")
			continue
		}
		value, _ := pcdatavalue2(info, 0, uintptr(pc))
		locals := funcdata(info, 1) != nil
		function := runtime.FuncForPC(uintptr(pc))
		file, _ := runtime.FuncForPC(function.Entry()).FileLine(function.Entry())
		fmt.Fprintf(out, "%d\t%t\t%s\t%s\n", value, locals, file, function.Name())
	}
	out.Flush()
}
"#;
/// Packages that are never preempted (runtime/preempt.go of 1.19 to 1.27).
const RUNTIME: [&str; 4] = [
    "runtime.",
    "runtime/internal/",
    "internal/runtime/",
    "reflect.",
];
/// Bytes from one address asked about to the next; no multiple of an instruction's.
const STEP: usize = 61;

/// What the runtime's answer comes to, and the name in it.
fn expected(line: &str) -> (SafePoint, Option<&str>) {
    let fields: Vec<&str> = line.split('\t').collect();
    let [value, locals, file, name] = fields[..] else {
        assert_eq!(line, "none");
        return (SafePoint::NotGo, None);
    };
    let found = if locals == "false" || file.ends_with(".s") {
        SafePoint::Assembly
    } else if RUNTIME.iter().any(|package| name.starts_with(package)) {
        SafePoint::Runtime
    } else if value == "-2" {
        SafePoint::Marked
    } else {
        SafePoint::Safe
    };
    (found, Some(name))
}

/// A name as the runtime prints it: type arguments, or what looks like them, left out.
fn as_printed(name: String) -> String {
    match (name.find('['), name.rfind(']')) {
        (Some(from), Some(to)) if from < to => {
            format!("{}[...]{}", &name[..from], &name[to + 1..])
        }
        _ => name,
    }
}

/// Compares at addresses all over the code of the program at `path`.
fn compare(what: &str, path: &Path, version: &GoVersion) {
    let file = File::open(path).unwrap();
    let symbols = Symbols::open(Elf::parse(FileImage::new(file).unwrap()).unwrap()).unwrap();
    let points = SafePoints::open(&symbols, version).unwrap();
    assert!(points.knows_inlined(), "{what}");
    let main = symbols.find(&["main.main"]).unwrap().remove(0).unwrap();
    // Between functions the runtime would stop, for want of an answer.
    let raw = fs::read(path).unwrap();
    let places: Vec<u64> = object::File::parse(&raw[..])
        .unwrap()
        .symbols()
        .filter(|own| own.kind() == SymbolKind::Text)
        .flat_map(|own| (own.address()..own.address() + own.size()).step_by(STEP))
        // Behind all of it, and in front.
        .chain([main.entry + (64 << 20), 1])
        .collect();
    let list = path.with_extension("places");
    let text: String = places.iter().map(|at| format!("{at}\n")).collect();
    fs::write(&list, text).unwrap();
    let output = Command::new(path)
        .arg(main.entry.to_string())
        .stdin(File::open(list).unwrap())
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    assert!(output.status.success(), "{what}");
    let said = String::from_utf8(output.stdout).unwrap();
    let mut seen: BTreeMap<SafePoint, usize> = BTreeMap::new();
    let mut lines = said.lines();
    for at in places {
        let line = lines.next().unwrap();
        let (want, name) = expected(line);
        let found = points.at(at).unwrap().unwrap();
        assert_eq!(found, want, "{what}: {at:#x}: {line:?}");
        let inner = points.innermost_name(at).unwrap().map(as_printed);
        // The runtime takes place 0, where the first name is, for none.
        let name = if name == Some("") {
            inner.as_deref()
        } else {
            name
        };
        assert_eq!(inner.as_deref(), name, "{what}: {at:#x}");
        *seen.entry(found).or_default() += 1;
    }
    // Each was met, and often.
    assert_eq!(seen.len(), 5, "{what}: {seen:?}");
    assert!(seen.values().sum::<usize>() > 4000, "{what}: {seen:?}");
}

#[test]
fn safe_points_are_those_of_the_runtime() {
    let dir = tempfile::tempdir().unwrap();
    let cc = have("cc");
    for go in toolchains() {
        let version = GoVersion::parse(&go.version).unwrap();
        let linkname = if go.minor() >= 23 {
            "-checklinkname=0"
        } else {
            ""
        };
        let linkname = format!("-ldflags={linkname}");
        for (mode, cgo) in [("exe", false), ("pie", false), ("pie", true)] {
            if cgo && !cc {
                continue;
            }
            let name = format!("{}-{mode}-{cgo}", go.version);
            // Functions without a body are refused where there is neither C nor assembly.
            let module = dir.path().join(format!("{name}.d"));
            fs::create_dir(&module).unwrap();
            if !cgo {
                fs::write(module.join("empty.s"), "").unwrap();
            }
            let mode = format!("-buildmode={mode}");
            let options = Options {
                cgo,
                args: &[&linkname, &mode],
                ..Options::default()
            };
            let source = if cgo {
                SOURCE.replacen("import (", "import \"C\"\n\nimport (", 1)
            } else {
                SOURCE.to_owned()
            };
            let program = go.build(dir.path(), &name, &source, options);
            compare(&name, &program, &version);
        }
    }
}
