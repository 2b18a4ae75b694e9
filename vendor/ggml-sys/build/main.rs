//! Builds ggml's base from the source that the package llama-cpp-sys-2 carries, and makes the bindings.
//!
//! The place of the source is asked of cargo (see `source.rs`); `GGML_SOURCE_DIR` names another.

mod source;

use std::env;
use std::error::Error;
use std::panic;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use source::Source;

/// What is compiled: everything that these need, and they need each other.
const C_FILES: [&str; 3] = ["ggml.c", "ggml-alloc.c", "ggml-quants.c"];
const CPP_FILES: [&str; 4] = ["ggml-backend.cpp", "ggml-backend-meta.cpp", "ggml-threading.cpp", "gguf.cpp"];

/// What the safe layer calls, and what its tests call.
const FUNCTIONS: &str = "ggml_(get_type_traits|row_size|quantize_chunk|quantize_requires_imatrix)|\
    gguf_(init_from_file|free|get_n_tensors|get_n_kv|get_tensor_name|get_tensor_type|get_tensor_offset|get_data_offset)";

/// A failure in one line.
type Failure = Box<dyn Error>;

fn main() -> ExitCode {
    match build() {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("error: ggml can't be built: {e}");
            eprintln!(
                "(without it, and so without quantizing and the IQ types: cargo build --no-default-features --features video)"
            );
            ExitCode::FAILURE
        }
    }
}

fn build() -> Result<(), Failure> {
    println!("cargo:rerun-if-changed=build");
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("OUT_DIR is not set: this is a build script of cargo's")?);
    need_compilers()?;
    let source = Source::find(&out)?;
    source.files().for_each(|file| println!("cargo:rerun-if-changed={}", file.display()));
    // Where CMake would write the version that it takes from git.
    write_if_new(&out.join("ggml-version.h"), "#define GGML_VERSION \"0\"\n#define GGML_COMMIT \"unknown\"\n")?;
    compile(&source, &out)?;
    bind(&source, &out)
}

/// Says what to install where a compiler is missing, before anything else fails because of it.
fn need_compilers() -> Result<(), Failure> {
    for (cpp, what) in [(false, "C"), (true, "C++")] {
        let compiler = cc::Build::new().cpp(cpp).try_get_compiler();
        let runs = |path: &Path| {
            Command::new(path).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok()
        };
        if !compiler.is_ok_and(|tool| runs(tool.path())) {
            return Err(format!("there is no {what} compiler; on Debian and Ubuntu: apt install g++").into());
        }
    }
    Ok(())
}

fn compile(source: &Source, out: &Path) -> Result<(), Failure> {
    // The C++ files first: they need the C files, which come after them on the linker's command line.
    for (cpp, library, files) in [(true, "qlens_ggml_cpp", &CPP_FILES[..]), (false, "qlens_ggml", &C_FILES[..])] {
        let mut build = cc::Build::new();
        build
            .cpp(cpp)
            .std(if cpp { "c++17" } else { "c11" })
            .include(out)
            .include(source.folder("include"))
            .include(source.folder("src"))
            .define("NDEBUG", None)
            .define("_GNU_SOURCE", None)
            // Results must not depend on where the compiler joins a product and a sum.
            .flag_if_supported("-ffp-contract=off")
            .warnings(false)
            .extra_warnings(false)
            .debug(false)
            // Always: unoptimised, quantizing takes ten times as long. All that takes time is in the C files.
            .opt_level(if cpp { 1 } else { 3 })
            .files(files.iter().map(|file| source.folder("src").join(file)))
            .try_compile(library)?;
    }
    Ok(())
}

fn bind(source: &Source, out: &Path) -> Result<(), Failure> {
    let header = out.join("ggml-all.h");
    write_if_new(&header, "#include \"ggml.h\"\n#include \"gguf.h\"\n#include \"ggml-quants.h\"\n")?;
    let builder = bindgen::Builder::default()
        .header(header.to_string_lossy())
        .clang_arg(format!("-I{}", source.folder("include").display()))
        .clang_arg(format!("-I{}", source.folder("src").display()))
        .allowlist_function(FUNCTIONS)
        .allowlist_var("GGML_TYPE_COUNT|GGML_QNT_VERSION")
        .default_enum_style(bindgen::EnumVariation::Consts)
        .prepend_enum_name(false)
        .layout_tests(true)
        .generate_comments(false)
        .formatter(bindgen::Formatter::None)
        .use_core()
        .wrap_unsafe_ops(true);
    // It panics where libclang is missing.
    let quiet = panic::take_hook();
    panic::set_hook(Box::new(|_| {}));
    let made = panic::catch_unwind(panic::AssertUnwindSafe(|| builder.generate()));
    panic::set_hook(quiet);
    let bindings = match made {
        Ok(Ok(bindings)) => bindings,
        Ok(Err(e)) => {
            return Err(format!("its headers can't be read (on Debian and Ubuntu: apt install clang): {e}").into());
        }
        Err(_) => return Err("libclang is missing; on Debian and Ubuntu: apt install libclang-dev".into()),
    };
    bindings.write_to_file(out.join("bindings.rs"))?;
    Ok(())
}

/// Leaves a file alone that is as it should be, so that nothing is built again because of it.
fn write_if_new(path: &Path, text: &str) -> Result<(), Failure> {
    if !std::fs::read(path).is_ok_and(|found| found == text.as_bytes()) {
        std::fs::write(path, text).map_err(|e| format!("{}: {e}", path.display()))?;
    }
    Ok(())
}
