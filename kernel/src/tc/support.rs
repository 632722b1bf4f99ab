//! Whether the kernel can shape traffic, found out without a try: a try would load modules, and `ifb` makes two links in
//! the host when it is loaded.

use std::fs;
use std::path::Path;

/// Which of the kernel's `modules` it has neither in it nor with it, as far as that can be known; none when it can't,
/// because the lists of modules are not here.
#[must_use]
pub fn lacks<'a>(modules: &[&'a str]) -> Option<&'a str> {
    modules.iter().copied().find(|module| is_absent(Path::new("/"), module))
}

/// A module that is loaded has a folder; one that is compiled in may have none. Both, and those that could be loaded,
/// stand in the lists that come with a kernel.
fn is_absent(root: &Path, module: &str) -> bool {
    if root.join("sys/module").join(module).exists() {
        return false;
    }
    let Ok(release) = fs::read_to_string(root.join("proc/sys/kernel/osrelease")) else { return false };
    let folder = root.join("lib/modules").join(release.trim());
    let file = format!("/{module}.ko");
    let is_unlisted = |list| fs::read_to_string(folder.join(list)).is_ok_and(|text| !text.contains(&file));
    is_unlisted("modules.builtin") && is_unlisted("modules.dep")
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    struct Root(PathBuf);

    impl Drop for Root {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn root(name: &str, files: &[(&str, &str)]) -> Root {
        let root = std::env::temp_dir().join(format!("tc-support-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&root);
        for (path, text) in files {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        Root(root)
    }

    const RELEASE: (&str, &str) = ("proc/sys/kernel/osrelease", "6.1.0-13-amd64\n");
    const BUILTIN: (&str, &str) = ("lib/modules/6.1.0-13-amd64/modules.builtin", "kernel/net/sched/sch_tbf.ko\n");
    const LOADABLE: (&str, &str) = (
        "lib/modules/6.1.0-13-amd64/modules.dep",
        "kernel/drivers/net/ifb.ko.xz: kernel/a.ko.xz\nkernel/drivers/net/notifb.ko:\nkernel/net/sched/cls_u32.ko:\n",
    );

    #[test]
    fn what_no_list_has_is_absent() {
        let root = root("absent", &[RELEASE, BUILTIN, LOADABLE, ("sys/module/act_mirred/refcnt", "0")]);
        let table =
            [("sch_tbf", false), ("ifb", false), ("cls_u32", false), ("act_mirred", false), ("sch_ingress", true)];
        for (module, expected) in table {
            assert_eq!(is_absent(&root.0, module), expected, "{module}");
        }
    }

    #[test]
    fn without_lists_nothing_is_known_to_be_absent() {
        for (name, files) in [("empty", &[][..]), ("half", &[RELEASE, BUILTIN]), ("other", &[RELEASE, LOADABLE])] {
            assert!(!is_absent(&root(name, files).0, "sch_ingress"), "{name}");
        }
    }

    #[test]
    fn this_kernel_has_what_the_tests_use() {
        assert_eq!(lacks(&["sch_tbf", "ifb", "sch_ingress", "cls_u32", "act_mirred"]), None);
    }
}
