//! The attribute structs of bpf(2), member for member after `union bpf_attr` of include/uapi/linux/bpf.h.
//!
//! Gaps that C leaves to alignment are written out as fields, so that every byte handed to the kernel is
//! initialised: it refuses bytes behind the last field it knows unless they are zero.

/// A struct that may be handed to bpf(2) as bytes.
///
/// # Safety
/// The type is `repr(C)`, has no padding, and every bit pattern is valid for it.
pub(crate) unsafe trait Attr: Copy {}

macro_rules! attrs {
    ($($(#[$doc:meta])* $name:ident { $($field:ident: $type:ty,)* })*) => {$(
        $(#[$doc])*
        #[repr(C)]
        #[derive(Clone, Copy, Default)]
        pub(crate) struct $name {
            $(pub(crate) $field: $type,)*
        }

        const _: () = assert!(
            size_of::<$name>() == 0 $(+ size_of::<$type>())*,
            "an attribute struct has implicit padding",
        );

        // SAFETY: repr(C) integers and arrays of integers; the assertion above excludes padding.
        unsafe impl $crate::bpf::attr::Attr for $name {}
    )*};
}
pub(crate) use attrs;

/// A union that follows a head of 16 bytes, addressed by the offsets of the whole struct.
#[repr(transparent)]
#[derive(Clone, Copy, Default)]
pub(crate) struct Tail([u32; 12]);

impl Tail {
    pub(crate) fn u32(&self, offset: usize) -> u32 {
        self.0[(offset - 16) / 4]
    }

    pub(crate) fn set_u32(&mut self, offset: usize, value: u32) -> &mut Self {
        self.0[(offset - 16) / 4] = value;
        self
    }

    pub(crate) fn u64(&self, offset: usize) -> u64 {
        let [a, b] = [self.u32(offset).to_ne_bytes(), self.u32(offset + 4).to_ne_bytes()];
        u64::from_ne_bytes([a[0], a[1], a[2], a[3], b[0], b[1], b[2], b[3]])
    }

    pub(crate) fn set_u64(&mut self, offset: usize, value: u64) -> &mut Self {
        let b = value.to_ne_bytes();
        self.set_u32(offset, u32::from_ne_bytes([b[0], b[1], b[2], b[3]]));
        self.set_u32(offset + 4, u32::from_ne_bytes([b[4], b[5], b[6], b[7]]))
    }
}

attrs! {
    MapCreateAttr {
        map_type: u32, key_size: u32, value_size: u32, max_entries: u32, map_flags: u32, inner_map_fd: u32,
        numa_node: u32, map_name: [u8; 16], map_ifindex: u32, btf_fd: u32, btf_key_type_id: u32,
        btf_value_type_id: u32, btf_vmlinux_value_type_id: u32, map_extra: u64, value_type_btf_obj_fd: i32,
        map_token_fd: i32,
    }
    /// Lookup, update, delete, next key, lookup and delete, freeze.
    MapElemAttr { map_fd: u32, pad: u32, key: u64, value: u64, flags: u64, }
    BatchAttr {
        in_batch: u64, out_batch: u64, keys: u64, values: u64, count: u32, map_fd: u32, elem_flags: u64,
        flags: u64,
    }
    ProgLoadAttr {
        prog_type: u32, insn_cnt: u32, insns: u64, license: u64, log_level: u32, log_size: u32, log_buf: u64,
        kern_version: u32, prog_flags: u32, prog_name: [u8; 16], prog_ifindex: u32,
        expected_attach_type: u32, prog_btf_fd: u32, func_info_rec_size: u32, func_info: u64,
        func_info_cnt: u32, line_info_rec_size: u32, line_info: u64, line_info_cnt: u32, attach_btf_id: u32,
        attach_fd: u32, core_relo_cnt: u32, fd_array: u64, core_relos: u64, core_relo_rec_size: u32,
        log_true_size: u32, prog_token_fd: i32, fd_array_cnt: u32,
    }
    ObjAttr { pathname: u64, bpf_fd: u32, file_flags: u32, path_fd: i32, pad: u32, }
    AttachAttr {
        target: u32, attach_bpf_fd: u32, attach_type: u32, attach_flags: u32, replace_bpf_fd: u32,
        relative: u32, expected_revision: u64,
    }
    TestRunAttr {
        prog_fd: u32, retval: u32, data_size_in: u32, data_size_out: u32, data_in: u64, data_out: u64,
        repeat: u32, duration: u32, ctx_size_in: u32, ctx_size_out: u32, ctx_in: u64, ctx_out: u64,
        flags: u32, cpu: u32, batch_size: u32, pad: u32,
    }
    IdAttr { id: u32, next_id: u32, open_flags: u32, token_fd: i32, }
    InfoAttr { bpf_fd: u32, info_len: u32, info: u64, }
    QueryAttr {
        target: u32, attach_type: u32, query_flags: u32, attach_flags: u32, prog_ids: u64, count: u32,
        pad: u32, prog_attach_flags: u64, link_ids: u64, link_attach_flags: u64, revision: u64,
    }
    RawTracepointAttr { name: u64, prog_fd: u32, pad: u32, cookie: u64, }
    BtfLoadAttr {
        btf: u64, log_buf: u64, btf_size: u32, log_size: u32, log_level: u32, log_true_size: u32, flags: u32,
        token_fd: i32,
    }
    TaskFdAttr {
        pid: u32, fd: u32, flags: u32, buf_len: u32, buf: u64, prog_id: u32, fd_type: u32, probe_offset: u64,
        probe_addr: u64,
    }
    /// `link_create`: the head, and the union of what the kinds add.
    LinkCreateAttr { prog_fd: u32, target: u32, attach_type: u32, flags: u32, tail: Tail, }
    LinkUpdateAttr { link_fd: u32, new_fd: u32, flags: u32, old_fd: u32, }
    /// Commands with one fd or number and at most a few words: link detach, enable stats, iterator create,
    /// bind map, token create.
    WordsAttr { words: [u32; 4], }
    StreamReadAttr { buf: u64, buf_len: u32, stream_id: u32, prog_fd: u32, pad: u32, }
}
