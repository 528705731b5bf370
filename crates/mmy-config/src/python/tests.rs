//! Tests of reading literals.

use super::read_foreign;

fn check(text: &str, expect: &str, lost: &[&str]) {
    let read = read_foreign("c.py", text);
    assert_eq!(read.root.to_toml_unresolved().trim(), expect.trim());
    let shown: Vec<_> = read.lost.iter().map(|it| format!("{:?} {}: {}", it.line, it.what, it.why)).collect();
    assert_eq!(shown, lost, "{text}");
}

#[test]
fn literals() {
    check(
        "'''A config.'''\na = 1  # one\nb = -1e-3\nc = ('x', 2.0, None, True)\nd = dict(e=[1, 2,], f={'g-h': None, 'i': 'j'\n 'k'})\n",
        "a = 1\nb = -0.001\nc = [\"x\", 2.0, true]\n\n[d]\ne = [1, 2]\n\n[d.f]\ni = \"jk\"",
        &[],
    );
    check("{\"a\": null, \"b\": [true, 1.5e3, \"\\u00fc\"], \"c\": {}}", "b = [true, 1500.0, \"ü\"]\n\n[c]", &[]);
    check(
        "a = (1)\nb = (1,)\nc = float('-inf')\nd = 1_000\ne = 'it\\'s {{x}}'",
        "a = 1\nb = [1]\nc = -inf\nd = 1000\ne = \"it's {{ '{{' }}x}}\"",
        &[],
    );
}

#[test]
fn names_and_arithmetic_become_expressions() {
    check(
        "scale = (640, 640)\nw = 0.5\npre = [dict(type='A')]\nx = dict(s=scale, h=-scale[0] // 2, w=w * (\n    scale[0] / 640)**2)\np = [*pre, dict(type='B', n=len(pre))]\nq = pre + [dict(type='C', on=True)]\nbase = '{{_base_.x}}'\nroot = '{{$DATA:/data}}/coco'",
        r#"
scale = [640, 640]
w = 0.5
pre = [{ type = "A" }]
p = ["{{ *pre }}", { type = "B", n = "{{ (pre | length) }}" }]
q = "{{ pre + [dict(type='C', on=True)] }}"
base = "{{ _base_.x }}"
root = "{{ env('DATA', '/data') }}/coco"

[x]
s = "{{ scale }}"
h = "{{ -scale[0] // 2 }}"
w = "{{ w * ( scale[0] / 640)**2 }}""#,
        &[],
    );
}

#[test]
fn what_only_python_can_do_is_listed() {
    check(
        "import os\na = os.path.join('x', 'y')\nfor i in range(3):\n    a = i\n\n    b = 2\nmodel.x = 3\nc = [i for i in [1]]\nd = dict(k=f'{a}', **other, z=1)\ne = other + 1",
        "c = []\n\n[d]\nz = 1",
        &[
            "Some(1) `import os`: imports are run by Python; dump the config first with `Config.fromfile(…).dump(…)`",
            "Some(2) a: `os.path.join('x', 'y')` reads `os`, which the file does not bind before",
            "Some(3) `for i in range(3):`: it is code, which only Python can run",
            "Some(7) `model.x = 3`: it changes a value in place; dump the config first, or set the key by hand",
            "Some(8) c.0: `i for i in [1]` is code, which only Python can run",
            "Some(9) d.k: `f'{a}'` is code, which only Python can run",
            "Some(9) d: `**other` would have to be run",
            "Some(10) e: `other + 1` reads `other`, which the file does not bind before",
        ],
    );
}

#[test]
fn nothing_makes_it_panic() {
    for text in [
        "",
        "a",
        "a =",
        "a = (",
        "{",
        "{\"a\"",
        "a = 'x",
        "a = \\",
        "a = dict(",
        "= 3",
        "a = [1 2]",
        "a=--1.e",
        "ü = 1",
        "a = {1: 2, (3): 4}",
        ")",
        "a = 1)\nb = ]",
    ] {
        let _ = read_foreign("c.py", text).root.to_toml_unresolved();
    }
    let _ = read_foreign("c.py", &format!("a = {}", "[".repeat(5_000)));
}
