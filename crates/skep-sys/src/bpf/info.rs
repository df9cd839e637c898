//! `BPF_OBJ_GET_INFO_BY_FD` for maps, BTF objects and, as the common part, everything.

use super::attr::{Attr, InfoAttr, attrs};
use super::kinds::MapType;
use super::sys::{Cmd, bpf, output, text};
use crate::error::{Errno, Result};
use std::os::fd::{AsRawFd, BorrowedFd};

/// Asks for the info of an object. `raw` may hold addresses and sizes of buffers to fill.
///
/// Kernels that know fewer fields leave the rest as it was, those that know more fill what fits
/// (kernel/bpf/syscall.c, `bpf_check_uarg_tail_zero` and the `*_get_info_by_fd` functions).
///
/// # Safety
/// `T` is the info struct of the kind of object that `fd` is, or starts like it; addresses in `raw` are null
/// or point at exclusively borrowed memory of the sizes given beside them.
pub(super) unsafe fn get_info<T: Attr>(fd: BorrowedFd<'_>, raw: &mut T) -> Result<()> {
    let mut attr = InfoAttr {
        bpf_fd: fd.as_raw_fd() as u32,
        info_len: size_of::<T>() as u32,
        info: std::ptr::from_mut(raw).expose_provenance() as u64,
    };
    // SAFETY: the kernel writes at most `info_len` bytes of `raw`; its inner addresses are the caller's promise.
    unsafe { bpf(Cmd::OBJ_GET_INFO_BY_FD, &mut attr) }.map(drop)
}

/// What kind of object a bpf(2) file descriptor is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ObjectKind {
    /// A map.
    Map,
    /// A program.
    Prog,
    /// A link.
    Link,
    /// A BTF object.
    Btf,
}

impl ObjectKind {
    /// Tells by the name that the kernel gives the open file; `None` if it is none of them.
    pub fn of(fd: BorrowedFd<'_>) -> Option<ObjectKind> {
        let target = std::fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd())).ok()?;
        match target.to_str()? {
            "anon_inode:bpf-map" => Some(ObjectKind::Map),
            "anon_inode:bpf-prog" => Some(ObjectKind::Prog),
            "anon_inode:bpf_link" => Some(ObjectKind::Link),
            "anon_inode:btf" => Some(ObjectKind::Btf),
            _ => None,
        }
    }

    /// Fails with `EINVAL` unless `fd` is an object of this kind: the info commands answer for any object, so
    /// the struct of one kind must not be offered for another.
    pub(super) fn expect(self, fd: BorrowedFd<'_>) -> Result<()> {
        let why = match ObjectKind::of(fd) {
            Some(kind) if kind == self => return Ok(()),
            Some(kind) => format!("the fd is a {kind:?}, not a {self:?}"),
            None => format!("/proc/self/fd does not tell that the fd is a {self:?}"),
        };
        Err(Cmd::OBJ_GET_INFO_BY_FD.error(Errno::EINVAL).about(why))
    }
}

attrs! {
    RawMapInfo {
        map_type: u32, id: u32, key_size: u32, value_size: u32, max_entries: u32, map_flags: u32,
        name: [u8; 16], ifindex: u32, btf_vmlinux_value_type_id: u32, netns_dev: u64, netns_ino: u64,
        btf_id: u32, btf_key_type_id: u32, btf_value_type_id: u32, btf_vmlinux_id: u32, map_extra: u64,
    }
    RawBtfInfo { btf: u64, btf_size: u32, id: u32, name: u64, name_len: u32, kernel_btf: u32, }
}

/// `struct bpf_map_info`. Fields that the kernel does not know are zero.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MapInfo {
    /// Kind of map.
    pub map_type: MapType,
    /// Id, unique while the map lives.
    pub id: u32,
    /// Key size in bytes.
    pub key_size: u32,
    /// Value size in bytes, of one CPU.
    pub value_size: u32,
    /// Number of elements; bytes of a ring buffer.
    pub max_entries: u32,
    /// Flags of creation (see [`super::MapFlags`]) and access.
    pub map_flags: u32,
    /// Name, at most 15 bytes.
    pub name: String,
    /// Device of an offloaded map.
    pub ifindex: u32,
    /// Device number of the network namespace of an offloaded map.
    pub netns_dev: u64,
    /// Inode number of the network namespace of an offloaded map.
    pub netns_ino: u64,
    /// BTF object that describes key and value; 0 for none.
    pub btf_id: u32,
    /// Type of the key in it.
    pub btf_key_type_id: u32,
    /// Type of the value in it.
    pub btf_value_type_id: u32,
    /// struct_ops: type of the value in kernel BTF.
    pub btf_vmlinux_value_type_id: u32,
    /// struct_ops: the BTF object that it belongs to.
    pub btf_vmlinux_id: u32,
    /// Kind specific, see [`super::MapCreate::map_extra`].
    pub map_extra: u64,
}

impl MapInfo {
    /// Asks for the info of an open map.
    pub fn of(fd: BorrowedFd<'_>) -> Result<MapInfo> {
        ObjectKind::Map.expect(fd)?;
        let mut raw = RawMapInfo::default();
        // SAFETY: `raw` is `struct bpf_map_info`, which holds no addresses that the kernel writes to.
        unsafe { get_info(fd, &mut raw) }?;
        Ok(MapInfo {
            map_type: MapType(raw.map_type),
            id: raw.id,
            key_size: raw.key_size,
            value_size: raw.value_size,
            max_entries: raw.max_entries,
            map_flags: raw.map_flags,
            name: text(&raw.name),
            ifindex: raw.ifindex,
            netns_dev: raw.netns_dev,
            netns_ino: raw.netns_ino,
            btf_id: raw.btf_id,
            btf_key_type_id: raw.btf_key_type_id,
            btf_value_type_id: raw.btf_value_type_id,
            btf_vmlinux_value_type_id: raw.btf_vmlinux_value_type_id,
            btf_vmlinux_id: raw.btf_vmlinux_id,
            map_extra: raw.map_extra,
        })
    }
}

/// `struct bpf_btf_info`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BtfInfo {
    /// Id, unique while the object lives.
    pub id: u32,
    /// Size of the data in bytes.
    pub size: u32,
    /// Whether it describes the kernel or a module.
    pub is_kernel: bool,
    /// `vmlinux` or the module; empty for the BTF of programs.
    pub name: String,
}

impl BtfInfo {
    /// Asks for the info of an open BTF object.
    pub fn of(fd: BorrowedFd<'_>) -> Result<BtfInfo> {
        ObjectKind::Btf.expect(fd)?;
        // Module names are at most MODULE_NAME_LEN = 64 - sizeof(long) bytes.
        let mut name = [0; 64];
        let mut raw = RawBtfInfo { name: output(&mut name), name_len: 64, ..RawBtfInfo::default() };
        // SAFETY: `raw` is `struct bpf_btf_info`; `name` has `name_len` bytes, `btf` is null with size 0.
        unsafe { get_info(fd, &mut raw) }?;
        Ok(BtfInfo { id: raw.id, size: raw.btf_size, is_kernel: raw.kernel_btf != 0, name: text(&name) })
    }

    /// Copies the data of an open BTF object.
    pub fn data(fd: BorrowedFd<'_>) -> Result<Vec<u8>> {
        ObjectKind::Btf.expect(fd)?;
        let mut data = vec![0; BtfInfo::of(fd)?.size as usize];
        let mut raw =
            RawBtfInfo { btf: output(&mut data), btf_size: data.len() as u32, ..RawBtfInfo::default() };
        // SAFETY: `raw` is `struct bpf_btf_info`; `data` has `btf_size` bytes, `name` is null with length 0.
        unsafe { get_info(fd, &mut raw) }?;
        data.truncate(raw.btf_size as usize);
        Ok(data)
    }
}
