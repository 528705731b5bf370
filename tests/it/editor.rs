//! taplo, the language server of TOML, over `configs/schema.json`: where it is installed (`TAPLO` names it; completion
//! needs a build with its `lsp` feature, `cargo install taplo-cli --features lsp`).

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use serde_json::{Value, json};

use crate::support::{folder, root};

fn taplo() -> Option<Command> {
    let name = std::env::var_os("TAPLO").unwrap_or_else(|| "taplo".into());
    let there = Command::new(&name).arg("--version").output().is_ok_and(|it| it.status.success());
    there.then(|| Command::new(name))
}

#[test]
fn taplo_accepts_and_rejects() {
    let lint = |path: &Path| {
        let schema = format!("file://{}", root().join("configs/schema.json").display());
        Some(taplo()?.args(["lint", "--schema", &schema]).arg(path).output().unwrap())
    };
    let Some(good) = lint(&root().join("configs/starnet_s1_yolov5.toml")) else { return };
    assert!(good.status.success(), "{}", String::from_utf8_lossy(&good.stderr));
    let dir = folder();
    let path = dir.path().join("broken.toml");
    fs::write(&path, "[model.backbone]\ntype = \"StarNet\"\nbase_dimm = 3\n").unwrap();
    let bad = lint(&path).unwrap();
    assert!(!bad.status.success());
    let said = String::from_utf8_lossy(&bad.stderr);
    assert!(said.contains("base_dimm"), "{said}");
}

#[test]
fn taplo_completes() {
    let Some(mut server) = Server::start() else { return };
    let schema = root().join("configs/schema.json").display().to_string();
    let text = format!(
        "#:schema {schema}\n[model.backbone]\ntype = \"StarNet\"\nba\n\n[default_hooks.x]\ntype = \"\"\n\n[train_cfg]\ntype = \"\"\n"
    );
    let keys = server.complete(&text, 3, 2);
    assert!(keys.iter().any(|it| it == "base_dim") && keys.iter().any(|it| it == "mlp_ratio"), "{keys:?}");
    let hooks = server.complete(&text, 6, 8);
    assert!(hooks.iter().any(|it| it == "\"EMAHook\""), "{hooks:?}");
    assert!(!hooks.iter().any(|it| it == "\"StarNet\""), "a backbone is no hook: {hooks:?}");
    let loops = server.complete(&text, 9, 8);
    assert!(loops.iter().any(|it| it == "\"EpochBasedTrainLoop\""), "{loops:?}");
}

/// A language server on the other end of two pipes.
struct Server {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    requests: u64,
}

impl Server {
    /// `None` where taplo is not installed, or was built without its server.
    fn start() -> Option<Self> {
        let pipes = |it: &mut Command| {
            it.args(["lsp", "stdio"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()
        };
        let mut child = pipes(&mut taplo()?).ok()?;
        let (input, output) = (child.stdin.take()?, BufReader::new(child.stdout.take()?));
        let mut server = Server { child, input, output, requests: 0 };
        let folder = format!("file://{}", root().display());
        let asked = json!({
            "processId": null, "rootUri": folder, "capabilities": {},
            "initializationOptions": { "configurationSection": "evenBetterToml" },
            "workspaceFolders": [{ "uri": folder, "name": "mmy" }],
        });
        server.ask("initialize", asked)?;
        server.send(&json!({ "jsonrpc": "2.0", "method": "initialized", "params": {} }))?;
        Some(server)
    }

    /// What is offered at a place of a config, labels in order.
    fn complete(&mut self, text: &str, line: u32, character: u32) -> Vec<String> {
        let uri = format!("file://{}", root().join("configs/open_in_an_editor.toml").display());
        let document = json!({ "uri": uri, "languageId": "toml", "version": self.requests, "text": text });
        let open = json!({
            "jsonrpc": "2.0", "method": "textDocument/didOpen", "params": { "textDocument": document }
        });
        self.send(&open).unwrap();
        let place = json!({ "line": line, "character": character });
        let offered = self.ask("textDocument/completion", json!({ "textDocument": { "uri": uri }, "position": place }));
        let offered = offered.expect("an answer");
        let items = offered.as_array().or_else(|| offered["items"].as_array()).cloned().unwrap_or_default();
        items.iter().filter_map(|it| it["label"].as_str().map(str::to_owned)).collect()
    }

    fn ask(&mut self, method: &str, params: Value) -> Option<Value> {
        self.requests += 1;
        let id = self.requests;
        self.send(&json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }))?;
        loop {
            let message = self.receive()?;
            match (message["id"].as_u64(), message["method"].as_str()) {
                (Some(it), None) if it == id => return Some(message["result"].clone()),
                // The server asks for the editor's settings: there are none.
                (Some(it), Some("workspace/configuration")) => {
                    let none = vec![Value::Null; message["params"]["items"].as_array().map_or(0, Vec::len)];
                    self.send(&json!({ "jsonrpc": "2.0", "id": it, "result": none }))?;
                }
                _ => {}
            }
        }
    }

    fn send(&mut self, message: &Value) -> Option<()> {
        let text = message.to_string();
        write!(self.input, "Content-Length: {}\r\n\r\n{text}", text.len()).ok()?;
        self.input.flush().ok()
    }

    fn receive(&mut self) -> Option<Value> {
        let mut length = 0;
        loop {
            let mut line = String::new();
            if self.output.read_line(&mut line).ok()? == 0 {
                return None;
            }
            match line.trim().split_once(": ") {
                Some((name, value)) if name.eq_ignore_ascii_case("content-length") => length = value.parse().ok()?,
                Some(_) => {}
                None => break,
            }
        }
        let mut text = vec![0; length];
        self.output.read_exact(&mut text).ok()?;
        serde_json::from_slice(&text).ok()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
