# The daily loop. `just` alone lists the recipes; .ci/run is what continuous integration runs.

_default:
    @just --list --unsorted

# Build the host and every plugin, and start the host
run *arguments:
    cargo run --release -- {{ arguments }}

# The command line client: `just ctl adapter list`
ctl *arguments:
    cargo run --release --quiet -p mesheryctl -- {{ arguments }}

# Unit tests, of one crate or of all: seconds, no cluster
unit crate="":
    cargo test {{ if crate == "" { "--workspace --exclude 'fixture-*' --lib --bins" } else { "-p " + crate } }}

# Every test, the real control plane included (built on first use)
test:
    .ci/run

# The whole-system tests whose names contain a text
system *filter:
    cargo test -p meshery-tests --test system -- {{ filter }}

# Every test; the host is killed between any two entries of its journal, and at many random instants, and many random plans
# meet random faults: the seed is printed
long seed=`date +%s` kills="60" rounds="1000":
    MESHERY_TEST_SEED={{ seed }} MESHERY_TEST_KILLS={{ kills }} MESHERY_TEST_ROUNDS={{ rounds }} .ci/run

# Formatting, lints, licences and banned dependencies
lint:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets -- --deny warnings
    cargo deny check bans licenses sources

# Known vulnerabilities among the dependencies; reads the advisory database from the internet
audit:
    cargo deny check advisories

# The documentation, as warnings-free as the code
doc *arguments:
    RUSTDOCFLAGS="--deny warnings" cargo doc --workspace --no-deps {{ arguments }}

# The benches; what they measured last is in docs/benchmarks.md. One that misses what it should reach fails, and the others run
bench *filter:
    cargo bench --no-fail-fast -p meshery-tests -- {{ filter }}
