//! User names, from `/etc/passwd`: a static binary cannot ask the name service.

use crate::error::Result;
use crate::fs::read_file;
use std::collections::BTreeMap;
use std::path::Path;

/// Users by number and by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Users(BTreeMap<u32, String>);

impl Users {
    /// Reads `/etc/passwd`.
    pub fn read() -> Result<Users> {
        Ok(Self::parse(&read_file(Path::new("/etc/passwd"))?))
    }

    /// Reads the format of passwd(5). Of several users with one number the first counts; other lines are left
    /// out.
    pub fn parse(text: &[u8]) -> Users {
        let text = String::from_utf8_lossy(text);
        let mut users = BTreeMap::new();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let mut fields = line.split(':');
            let (Some(name), Some(_), Some(uid)) = (fields.next(), fields.next(), fields.next()) else {
                continue;
            };
            if let (false, Ok(uid)) = (name.is_empty(), uid.parse()) {
                users.entry(uid).or_insert_with(|| name.to_owned());
            }
        }
        Users(users)
    }

    /// Name of a user.
    pub fn name(&self, uid: u32) -> Option<&str> {
        self.0.get(&uid).map(String::as_str)
    }

    /// Number of a user.
    pub fn uid(&self, name: &str) -> Option<u32> {
        self.0.iter().find(|(_, known)| *known == name).map(|(uid, _)| *uid)
    }

    /// Numbers and names, ascending.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &str)> {
        self.0.iter().map(|(uid, name)| (*uid, name.as_str()))
    }
}
