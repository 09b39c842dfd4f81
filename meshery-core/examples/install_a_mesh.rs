//! Installs a mesh from an ordinary program, shows what will change first, and takes it back if asked to.
//!
//! ```text
//! cargo build
//! cargo run -p meshery-core --example install_a_mesh -- target/debug istio --undo
//! ```
//!
//! The first argument is the folder with the plugins, the second the adapter. `KUBECONFIG` names the cluster and
//! `MESHERY_MIRROR` a folder of charts, if there is one. Plugins run inside this program; but a file that was never
//! seen before is first loaded in a process of its own, because some files kill whoever loads them. That process is
//! this program again, which is what the first lines of `main` are for.

use std::path::PathBuf;
use std::process::ExitCode;

use futures::StreamExt as _;
use meshery_core::Meshery;
use meshery_core::operation::NewOperation;
use meshery_core::plugin::{Isolation, child_main};
use meshery_core::problem::Problem;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().is_some_and(|first| first == "plugin-child") {
        return child_main(arguments);
    }
    run()
}

#[tokio::main]
async fn run() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [plugins, adapter, rest @ ..] = arguments.as_slice() else {
        eprintln!("usage: install_a_mesh PLUGIN_FOLDER ADAPTER [--undo]");
        return ExitCode::from(2);
    };
    let undo = rest.iter().any(|argument| argument == "--undo");
    match install(plugins.into(), adapter, undo).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("{}: {problem}\n{}", problem.code, problem.remedy);
            ExitCode::FAILURE
        }
    }
}

async fn install(plugins: PathBuf, adapter: &str, undo: bool) -> Result<(), Problem> {
    let data = std::env::temp_dir().join("meshery-example");
    let mut builder = Meshery::builder(data)
        .own_plugin_folder(plugins)
        .isolation(Isolation::InProcess);
    if let Some(mirror) = std::env::var_os("MESHERY_MIRROR") {
        builder = builder.mirror(mirror);
    }
    let meshery = builder.build().await?;
    for plugin in meshery.plugins().list() {
        if let Some(refused) = plugin.error {
            eprintln!("{}: {refused}", plugin.file.display());
        }
    }
    let operations = meshery.operations()?;

    let planned = operations
        .plan(NewOperation {
            adapter: adapter.to_owned(),
            operation: "install".to_owned(),
            ..NewOperation::default()
        })
        .await?;
    println!("{}", planned.summary);
    for object in operations.preview(&planned.id).await?.objects {
        println!("  {:?} {} ({:?})", object.change, object.object, object.certainty);
    }

    operations.run(&planned.id).await?;
    follow(operations, &planned.id, 0).await?;
    let mut ended = operations.get(&planned.id).await?;
    println!("{}", ended.state);
    if undo {
        operations.undo(&planned.id).await?;
        follow(operations, &planned.id, ended.seq).await?;
        ended = operations.get(&planned.id).await?;
        println!("{}", ended.state);
    }
    meshery.shutdown().await;
    ended.error.map_or(Ok(()), Err)
}

async fn follow(
    operations: &meshery_core::operation::Operations,
    id: &str,
    after: u64,
) -> Result<(), Problem> {
    let mut events = operations.events(id, after).await?;
    while let Some(event) = events.next().await {
        let event = event?;
        let what = event.object.map(|object| object.to_string());
        let words = [
            event.step,
            what,
            event.state,
            event.change,
            event.reason,
            event.message,
        ];
        println!("{}", words.into_iter().flatten().collect::<Vec<_>>().join(" "));
    }
    Ok(())
}
