//! What a data directory must be, and what it says when it cannot be used.

use std::os::unix::fs::MetadataExt as _;
use std::process::Command;
use std::{env, fs};

use super::*;

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o777
}

#[test]
fn a_new_directory_and_its_secrets_are_for_this_user_alone() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("new/data");
    let data = DataDir::open(&path).unwrap();
    assert_eq!(mode(&path), 0o700);
    assert_eq!(mode(&path.join("lock")), 0o600);

    data.write(DataFile::CaKey, "secret").unwrap();
    data.write(DataFile::Ca, "public").unwrap();
    assert_eq!(mode(&data.path(DataFile::CaKey)), 0o600);
    assert_eq!(mode(&data.path(DataFile::Ca)) & !0o644, 0);
    assert_eq!(data.read(DataFile::CaKey).unwrap().as_deref(), Some("secret"));
    assert_eq!(data.read(DataFile::Server).unwrap(), None);

    let database = data.touch(DataFile::Database).unwrap();
    assert_eq!(mode(&database), 0o600);
    fs::write(&database, "rows").unwrap();
    data.touch(DataFile::Database).unwrap();
    assert_eq!(fs::read_to_string(&database).unwrap(), "rows");
}

#[test]
fn a_second_write_replaces_the_file_and_leaves_nothing_else() {
    let temp = tempfile::tempdir().unwrap();
    // What a process leaves that is killed while it writes.
    fs::write(temp.path().join(".unfinished-x1y2z3"), "half of a k").unwrap();
    let data = DataDir::open(temp.path()).unwrap();
    data.write(DataFile::Server, "first, and longer").unwrap();
    data.write(DataFile::Server, "second").unwrap();
    assert_eq!(data.read(DataFile::Server).unwrap().as_deref(), Some("second"));
    let mut names: Vec<_> = fs::read_dir(temp.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["lock", "server.pem"]);
}

/// The part of the next test that runs in a process of its own: it has the directory until its standard input ends.
#[test]
fn in_a_second_process() {
    let Some(path) = env::var_os("MUSTER_TEST_DATA_DIR") else { return };
    let outcome = DataDir::open(Path::new(&path));
    println!("{}", outcome.as_ref().map_or_else(ToString::to_string, |_| "opened".to_owned()));
    drop(outcome);
}

fn open_in_a_second_process(path: &Path, as_nobody: bool) -> String {
    use std::os::unix::process::CommandExt as _;

    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["data_dir::tests::in_a_second_process", "--exact", "--nocapture"]).env("MUSTER_TEST_DATA_DIR", path);
    if as_nobody {
        command.uid(65_534).gid(65_534);
    }
    String::from_utf8(command.output().unwrap().stdout).unwrap()
}

#[test]
fn a_second_process_is_refused_and_told_who_holds_the_directory() {
    let temp = tempfile::tempdir().unwrap();
    let held = DataDir::open(temp.path()).unwrap();
    let expected = format!("the data directory {} is in use by process {}", temp.path().display(), std::process::id());
    let said = open_in_a_second_process(temp.path(), false);
    assert!(said.contains(&expected), "{said}");

    drop(held);
    let said = open_in_a_second_process(temp.path(), false);
    assert!(said.contains("opened"), "{said}");
    let held = DataDir::open(temp.path()).unwrap();
    let error = DataDir::open(temp.path()).unwrap_err();
    assert!(matches!(error, DataDirError::Held { holder: Holder { pid: Some(pid) }, .. } if pid == std::process::id()));
    drop(held);
}

#[test]
fn a_file_in_the_way_is_named() {
    let temp = tempfile::NamedTempFile::new().unwrap();
    for path in [temp.path().to_owned(), temp.path().join("below")] {
        let error = DataDir::open(&path).unwrap_err();
        assert_eq!(error.to_string(), format!("{} is not a directory", path.display()));
    }
}

#[test]
fn a_directory_that_cannot_be_written_says_so() {
    use std::os::unix::fs::PermissionsExt as _;

    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("data");
    fs::create_dir(&path).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o555)).unwrap();
    // Permissions do not bind root; another user must try.
    let am_root = fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0);
    fs::set_permissions(temp.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let said = open_in_a_second_process(&path, am_root);
    assert!(said.contains(&format!("this user may not write to the data directory {}", path.display())), "{said}");
}

#[test]
fn a_read_only_file_system_is_told_from_missing_permissions() {
    let path = Path::new("/data");
    let error = refusal(path, io::Error::from(ErrorKind::ReadOnlyFilesystem));
    assert_eq!(error.to_string(), "the data directory /data is on a read-only file system");
}
