//! What wheels are called for this machine.

use std::env;

use anyhow::{Result, bail};

/// The kind of machine: which wheels run on it.
pub struct Platform {
    /// pip's `--platform` tags. pip takes each literally, and the wheels carry different ones.
    pub tags: &'static [&'static str],
}

impl Platform {
    /// This machine's.
    pub fn here() -> Result<Self> {
        let musl = cfg!(target_env = "musl");
        Self::of(env::consts::OS, env::consts::ARCH, musl)
    }

    fn of(os: &str, arch: &str, musl: bool) -> Result<Self> {
        let tags: &[&str] = match (os, arch) {
            ("linux", "x86_64") if !musl => &[
                "manylinux_2_28_x86_64",
                "manylinux_2_27_x86_64",
                "manylinux_2_25_x86_64",
                "manylinux_2_17_x86_64",
                "manylinux2014_x86_64",
            ],
            ("linux", "aarch64") if !musl => &[
                "manylinux_2_28_aarch64",
                "manylinux_2_27_aarch64",
                "manylinux_2_25_aarch64",
                "manylinux_2_17_aarch64",
                "manylinux2014_aarch64",
            ],
            // pip itself adds the older releases of macOS to a tag.
            ("macos", "aarch64") => &["macosx_14_0_arm64"],
            _ => bail!(
                "there is no wheel of libtorch 2.13.0 for {arch} {os}{}: build or fetch one yourself and set LIBTORCH \
                 to its folder",
                if musl { " with musl" } else { "" }
            ),
        };
        Ok(Platform { tags })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_without_a_wheel_is_told_so() {
        for (os, arch, musl) in [("linux", "x86_64", true), ("linux", "riscv64", false), ("windows", "x86_64", false)] {
            let error = Platform::of(os, arch, musl).err().unwrap().to_string();
            assert!(error.contains("set LIBTORCH"), "{error}");
        }
    }

    #[test]
    fn tags_are_of_the_machine() {
        for (os, arch, end) in
            [("linux", "x86_64", "x86_64"), ("linux", "aarch64", "aarch64"), ("macos", "aarch64", "arm64")]
        {
            let tags = Platform::of(os, arch, false).unwrap().tags;
            assert!(tags.iter().all(|it| it.ends_with(end)), "{tags:?}");
        }
    }
}
