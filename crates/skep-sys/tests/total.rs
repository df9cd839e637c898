//! No input makes a parser panic or loop: the inputs of the case files and recorded netlink answers, cut, doubled
//! and with bytes changed, always the same way.

mod torture;

/// xorshift64*: the same numbers on every run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % n.max(1)
    }
}

/// Bytes that mean something to some parser.
const TELLING: &[u8] = b"\0\n\t :-,()[]\\/0179afxT\xff\x80\x04\x10";

fn mutate(input: &[u8], numbers: &mut Numbers) -> Vec<u8> {
    let mut data = input.to_vec();
    for _ in 0..=numbers.below(4) {
        let at = numbers.below(data.len());
        match numbers.below(5) {
            0 => data.truncate(at),
            1 if at < data.len() => data[at] = TELLING[numbers.below(TELLING.len())],
            2 if at < data.len() => data[at] = numbers.below(256) as u8,
            3 => data.insert(at, TELLING[numbers.below(TELLING.len())]),
            _ => {
                let end = at + numbers.below(data.len() - at + 1);
                let piece = data[at..end].to_vec();
                data.splice(at..at, piece);
            }
        }
    }
    data
}

fn run(inputs: &[Vec<u8>], parse: fn(&[u8])) {
    let mut numbers = Numbers(0x5ce9);
    for input in inputs {
        parse(input);
        for _ in 0..400 {
            parse(&mutate(input, &mut numbers));
        }
    }
}

#[test]
fn text_parsers_are_total() {
    // A line longer than any buffer, and what follows it.
    let long = [&[b'a'; 70_000][..], b"\nffffffff81000000 T _stext\n"].concat();
    torture::text(&long);
    let mut inputs = vec![Vec::new(), vec![b'\n'; 100]];
    for entry in std::fs::read_dir("tests/cases/parsers").expect("the case files are there") {
        let text = std::fs::read_to_string(entry.expect("readable").path()).expect("text");
        for case in testkit::parse(&text).expect("case files are well formed") {
            inputs.push(
                case.section("input").unwrap_or("").replace("\\t", "\t").replace("\\0", "\0").into_bytes(),
            );
        }
    }
    assert!(inputs.len() > 25, "{} inputs", inputs.len());
    run(&inputs, torture::text);
}

#[test]
fn netlink_parsers_are_total() {
    // RTM_NEWLINK of a loopback interface with an XDP attribute, RTM_NEWTFILTER of a bpf filter, shortened.
    let attribute = |kind: u16, value: &[u8]| {
        let mut bytes = (value.len() as u16 + 4).to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend_from_slice(value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    };
    let message = |kind: u16, payload: &[u8]| {
        let mut bytes = (payload.len() as u32 + 16).to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend([2, 0, 1, 0, 0, 0, 9, 9, 9, 9]);
        bytes.extend_from_slice(payload);
        bytes
    };
    let xdp = [attribute(2, &[2]), attribute(4, &[7, 0, 0, 0]), attribute(6, &[7, 0, 0, 0])].concat();
    let link =
        [&[0u8; 16][..], &attribute(3, b"lo\0"), &attribute(4, &[0, 0, 1, 0]), &attribute(43, &xdp)].concat();
    let bpf = [attribute(7, b"name\0"), attribute(8, &[1, 0, 0, 0]), attribute(11, &[5, 0, 0, 0])].concat();
    let filter = [&[1u8; 20][..], &attribute(1, b"bpf\0"), &attribute(2, &bpf)].concat();
    let done = message(3, &[0; 4]);
    let inputs = [
        link.clone(),
        filter.clone(),
        [message(16, &link), message(44, &filter), done.clone()].concat(),
        message(2, &[0xf0, 0xff, 0xff, 0xff, 20, 0, 0, 0, 16, 0, 5, 0]),
    ];
    run(&inputs, torture::netlink);
}
