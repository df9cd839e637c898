//! Output that scripts do not reach in cases: many CPUs, many elements, records that are not what they should
//! be.

use skep_ir::{Loc, MapId, SourceMap, Span};
use skep_trace::output::{
    Effect, Host, KernelSymbol, MapError, Maps, OutputFormat, Printer, Resolver, Settings, Sink, UserSymbol,
    Zone,
};
use skep_trace::plan::{
    Arg, Clock, ConvKind, Conversion, Event, Field, Layout, MapPlan, MapValue, Piece, Plan, RuntimeError,
    Storage,
};
use skep_trace::types::{AggTy, SeriesAgg, StackMode};

/// Maps with all their elements, and nothing else.
struct World {
    cpus: usize,
    elements: Result<Vec<Element>, MapError>,
}

/// Key and value.
type Element = (Vec<u8>, Vec<u8>);

impl World {
    fn new(cpus: usize, elements: Vec<Element>) -> World {
        World { cpus, elements: Ok(elements) }
    }
}

impl Maps for World {
    fn possible_cpus(&self) -> usize {
        self.cpus
    }

    fn elements(&mut self, _: MapId, each: &mut dyn FnMut(&[u8], &[u8])) -> Result<(), MapError> {
        self.elements.as_ref().map_err(Clone::clone)?.iter().for_each(|(key, value)| each(key, value));
        Ok(())
    }

    fn lookup(&mut self, _: MapId, key: &[u8], value: &mut Vec<u8>) -> Result<bool, MapError> {
        let elements = self.elements.as_ref().map_err(Clone::clone)?;
        let found = elements.iter().find(|(k, _)| k == key);
        value.clear();
        value.extend(found.iter().flat_map(|(_, v)| v));
        Ok(found.is_some())
    }
}

/// Knows nothing.
struct Nobody;

impl Resolver for Nobody {
    fn kernel_symbol(&mut self, _: u64) -> Option<KernelSymbol<'_>> {
        None
    }

    fn user_symbol(&mut self, _: u32, _: u64) -> Option<&UserSymbol> {
        None
    }

    fn user_name(&mut self, _: u64) -> Option<String> {
        None
    }

    fn cgroup_path(&mut self, _: u64, _: &str) -> Option<String> {
        None
    }

    fn now(&mut self) -> i64 {
        0
    }

    fn clock_offset(&mut self, _: Clock) -> i64 {
        0
    }

    fn zone(&mut self) -> Zone {
        Zone::utc()
    }

    fn gfp_bit(&mut self, _: &str) -> Option<u32> {
        None
    }
}

#[derive(Default)]
struct Collected {
    output: Vec<u8>,
    messages: Vec<u8>,
}

impl Collected {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.output).into_owned()
    }
}

impl Sink for Collected {
    fn output(&mut self, bytes: &[u8]) {
        self.output.extend_from_slice(bytes);
    }

    fn message(&mut self, text: &[u8]) {
        self.messages.extend_from_slice(text);
    }
}

fn settings(format: OutputFormat) -> Settings {
    Settings::new(&skep_trace::config::Config::default(), format)
}

/// Prints one map in full, or its `top` elements.
fn printed(plan: MapPlan, world: &mut World, top: u64) -> Collected {
    let plan = Plan { maps: vec![plan], ..Plan::default() };
    let sources = SourceMap::default();
    let mut sink = Collected::default();
    let mut printer = Printer::new(&plan, &sources, settings(OutputFormat::Text));
    printer.map(0, top, 0, &mut Host { sink: &mut sink, maps: world, names: &mut Nobody });
    sink
}

/// Prints records; what they printed and how many were malformed.
fn records(plan: &Plan, records: &[Vec<u8>], format: OutputFormat) -> (Collected, u64) {
    let mut sources = SourceMap::default();
    sources.add_file("x.bt", "begin { }\n");
    let (mut sink, mut world) = (Collected::default(), World::new(2, Vec::new()));
    let mut printer = Printer::new(plan, &sources, settings(format));
    for record in records {
        printer.record(record, &mut Host { sink: &mut sink, maps: &mut world, names: &mut Nobody });
    }
    let malformed = printer.malformed();
    (sink, malformed)
}

const U64: Layout = Layout::Int { bytes: 8, signed: false };
const I64: Layout = Layout::Int { bytes: 8, signed: true };

fn map(key: Option<Layout>, value: MapValue, storage: Storage) -> MapPlan {
    let key_size = if key.is_some() { 8 } else { 0 };
    MapPlan { name: "@".into(), id: MapId::from_u32(0), key, key_size, value, storage }
}

fn words(words: &[u64]) -> Vec<u8> {
    words.iter().flat_map(|w| w.to_le_bytes()).collect()
}

/// A per-CPU value of so many words, zero but on the CPUs that are given.
fn per_cpu(cpus: usize, size: usize, cells: &[(usize, &[u64])]) -> Vec<u8> {
    let mut all = vec![0; cpus * size];
    for (cpu, cell) in cells {
        all[cpu * size..cpu * size + cell.len()].copy_from_slice(cell);
    }
    words(&all)
}

#[test]
fn values_of_128_cpus_are_put_together() {
    let hash = Storage::Hash { per_cpu: true };
    let one = |agg, value| {
        let mut world = World::new(128, vec![(words(&[1]), value)]);
        printed(map(Some(U64), MapValue::Agg(agg), hash), &mut world, 0).text()
    };
    let ones: Vec<_> = (0..128).map(|cpu| (cpu, [1].as_slice())).collect();
    assert_eq!(one(AggTy::Count, per_cpu(128, 1, &ones)), "@[1]: 128\n");
    // Sums wrap, as they do where one CPU adds everything.
    let wrapped = per_cpu(128, 1, &[(0, &[u64::MAX]), (127, &[3])]);
    assert_eq!(one(AggTy::Count, wrapped.clone()), "@[1]: 2\n");
    assert_eq!(one(AggTy::Sum(true), wrapped), "@[1]: 2\n");
    // Only what a CPU has set counts.
    let extremes = per_cpu(128, 2, &[(3, &[(-5_i64) as u64, 1]), (127, &[7, 1]), (5, &[99, 0])]);
    assert_eq!(one(AggTy::Min(true), extremes.clone()), "@[1]: -5\n");
    assert_eq!(one(AggTy::Max(true), extremes.clone()), "@[1]: 7\n");
    assert_eq!(one(AggTy::Min(false), extremes.clone()), "@[1]: 7\n");
    assert_eq!(one(AggTy::Max(false), extremes), format!("@[1]: {}\n", (-5_i64) as u64));
    let totals = per_cpu(128, 2, &[(0, &[(-9_i64) as u64, 1]), (127, &[2, 1])]);
    assert_eq!(one(AggTy::Avg(true), totals.clone()), "@[1]: -3\n");
    assert_eq!(one(AggTy::Stats(true), totals), "@[1]: { .count = 2, .average = -3, .total = -7 }\n");
    assert_eq!(one(AggTy::Avg(false), per_cpu(128, 2, &[])), "@[1]: 0\n");
}

#[test]
fn buckets_of_128_cpus_are_added() {
    let one: &[u64] = &[1];
    let element = |bucket: u64, cells| ([words(&[7]), words(&[bucket])].concat(), per_cpu(128, 1, cells));
    // The last is no bucket; the one before comes twice.
    let cells = [(5, one), (127, one)];
    let elements =
        vec![element(3, &cells), element(5, &cells[..1]), element(5, &cells[..1]), element(1 << 60, &cells)];
    let agg = MapValue::Agg(AggTy::Hist { bits: 0 });
    let text = printed(map(Some(U64), agg, Storage::KeyedBuckets), &mut World::new(128, elements), 0).text();
    let rows: Vec<_> = text.lines().filter_map(|l| l.split_once('|')).map(|(row, _)| row).collect();
    let expected = ["[2, 4)                 2 ", "[4, 8)                 0 ", "[8, 16)                1 "];
    assert_eq!(rows, expected, "{text}");
}

#[test]
fn a_hundred_thousand_elements_are_in_order() {
    let layout = Layout::Tuple(vec![(0, U64)]);
    let elements = (0..100_000_u64).map(|n| (words(&[n]), words(&[n * 7919 % 100_000]))).collect();
    let mut world = World::new(4, elements);
    let plan = || map(Some(layout.clone()), MapValue::Plain(U64), Storage::Hash { per_cpu: false });
    let all = printed(plan(), &mut world, 0).text();
    let values: Vec<u64> =
        all.lines().filter_map(|l| l.rsplit_once(": ")).filter_map(|(_, v)| v.parse().ok()).collect();
    assert_eq!(values, (0..100_000).collect::<Vec<_>>());
    let last: Vec<_> = all.lines().skip(99_997).collect();
    assert_eq!(printed(plan(), &mut world, 3).text().lines().collect::<Vec<_>>(), last);
}

#[test]
fn a_map_that_cannot_be_read_is_told() {
    let mut world = World { cpus: 1, elements: Err(MapError("gone".into())) };
    let plan = map(None, MapValue::Plain(U64), Storage::Single { per_cpu: false });
    let sink = printed(plan, &mut world, 0);
    assert_eq!(String::from_utf8_lossy(&sink.messages), "WARNING: Cannot read map @: gone\n");
    assert_eq!(sink.text(), "");
}

#[test]
fn stacks_by_build_id() {
    for end in [(0, 0), (1, 0xffff_a9ab_328d_b000)] {
        stack_by_build_id(end);
    }
}

fn stack_by_build_id(end: (u32, u64)) {
    let mut frames = Vec::new();
    for (status, word) in [(1_u32, 0x1f_u64), (1, 0x5), (2, 0x7fff_1234), end, (1, 9)] {
        frames.extend(status.to_le_bytes());
        frames.extend((0..20).map(|n| n * 13));
        frames.extend(word.to_le_bytes());
    }
    let plan = Plan {
        build_id_stacks: Some(MapId::from_u32(0)),
        events: vec![Event::Value(Arg { offset: 8, size: 16, layout: Layout::UStack(StackMode::BuildId) })],
        ..Plan::default()
    };
    let sources = SourceMap::default();
    let mut sink = Collected::default();
    let mut world = World::new(1, vec![(words(&[6]), frames)]);
    let mut printer = Printer::new(&plan, &sources, settings(OutputFormat::Text));
    let mut host = Host { sink: &mut sink, maps: &mut world, names: &mut Nobody };
    printer.record(&words(&[0, 6, 77]), &mut host);
    let id = "000d1a2734414e5b6875828f9ca9b6c3d0ddeaf7";
    assert_eq!(sink.text(), format!("\n{id} 0x1f\n{id} 0x05\n7fff1234\n\n"));
}

#[test]
fn bit_fields() {
    let field =
        |name: &str, offset, bits, layout| Field { name: name.into(), offset, bits: Some(bits), layout };
    let layout = Layout::Record(vec![
        field("low", 0, (0, 3), Layout::Int { bytes: 4, signed: true }),
        field("mid", 0, (3, 5), Layout::Int { bytes: 4, signed: false }),
        field("wide", 1, (4, 64), U64),
        field("far", 0, (12, 4), Layout::Int { bytes: 1, signed: true }),
        field("flag", 0, (7, 1), Layout::Bool),
    ]);
    let plan = Plan { events: vec![Event::Value(Arg { offset: 8, size: 16, layout })], ..Plan::default() };
    let mut record = words(&[0]);
    record.extend([0b1011_0101, 0xf8, 1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0, 0, 0, 0]);
    let (sink, _) = records(&plan, &[record], OutputFormat::Text);
    let wide = 0x8070_6050_4030_201f_u64;
    let expected = format!("{{ .low = -3, .mid = 22, .wide = {wide}, .far = -1, .flag = true }}\n");
    assert_eq!(sink.text(), expected);
}

#[test]
fn packets_and_numbers_from_records() {
    let print = |top, div| Event::PrintMap { map: 0, top, div };
    let plan = Plan {
        events: vec![Event::Packet { path: "a.pcap".into(), offset: 8 }, print(0, 0)],
        maps: vec![map(Some(U64), MapValue::Plain(I64), Storage::Hash { per_cpu: false })],
        ..Plan::default()
    };
    let sources = SourceMap::default();
    let elements = vec![(words(&[1]), words(&[10])), (words(&[2]), words(&[20]))];
    let (mut sink, mut world) = (Collected::default(), World::new(1, elements));
    let mut printer = Printer::new(&plan, &sources, settings(OutputFormat::Text));
    let mut host = Host { sink: &mut sink, maps: &mut world, names: &mut Nobody };
    let mut packet = words(&[0, 5, 3]);
    packet.extend(b"abcd");
    let effect = printer.record(&packet, &mut host);
    assert_eq!(effect, Effect::Packet { path: "a.pcap", time: 5, bytes: b"abc" });
    assert_eq!(printer.record(&packet[..26], &mut host), Effect::None);
    assert_eq!(printer.malformed(), 1);
    printer.record(&words(&[1, 0, 1, 3]), &mut host);
    assert_eq!(sink.text(), "@[2]: 6\n");
}

/// Numbers that look random.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    fn bytes(&mut self, len: u64) -> Vec<u8> {
        (0..len).map(|_| self.next() as u8).collect()
    }

    fn layout(&mut self, depth: u32) -> Layout {
        let offset = self.below(40) as u32;
        match self.below(if depth == 0 { 15 } else { 18 }) {
            0 => Layout::None,
            1 => Layout::Bool,
            2 => Layout::Int { bytes: 1 << self.below(4), signed: self.below(2) == 0 },
            3 => Layout::Ptr,
            4 => Layout::Str(self.below(20) as u32),
            5 => Layout::Buf(self.below(20) as u32),
            6 => Layout::Enum { bytes: 4, signed: true, names: vec![(0, "zero".to_owned())].into() },
            7 => Layout::KSym,
            8 => Layout::USym,
            9 => Layout::KStack(StackMode::Perf),
            10 => Layout::UStack(StackMode::BuildId),
            11 => Layout::Inet,
            12 => Layout::Mac,
            13 => Layout::Timestamp,
            14 => Layout::CgroupPath,
            15 => Layout::Array {
                elem: Box::new(self.layout(depth - 1)),
                size: offset,
                len: self.below(4) as u32,
            },
            16 => Layout::Tuple((0..self.below(4)).map(|_| (offset, self.layout(depth - 1))).collect()),
            _ => Layout::Record(vec![Field {
                name: "f".into(),
                offset,
                bits: (self.below(2) == 0).then(|| (self.below(70) as u32, self.below(70) as u32)),
                layout: self.layout(depth - 1),
            }]),
        }
    }

    fn event(&mut self) -> Event {
        let arg =
            |r: &mut Self| Arg { offset: r.below(60) as u32, size: r.below(60) as u32, layout: r.layout(3) };
        let conversion = |r: &mut Self| Conversion {
            left: r.below(2) == 0,
            plus: r.below(2) == 0,
            alternate: r.below(2) == 0,
            zero: r.below(2) == 0,
            width: r.below(30) as u32,
            bytes: 1 << r.below(4),
            kind: [
                ConvKind::Signed,
                ConvKind::Unsigned,
                ConvKind::Octal,
                ConvKind::Hex,
                ConvKind::UpperHex,
                ConvKind::Char,
                ConvKind::Pointer,
                ConvKind::Text,
                ConvKind::Bytes,
                ConvKind::BytesHex,
                ConvKind::BytesSpacedHex,
                ConvKind::GfpFlags,
            ][r.below(12) as usize],
            ..Conversion::default()
        };
        let loc = Loc::new(Span { file: skep_ir::FileId::from_u32(0), lo: 0, hi: 5 });
        let args: Vec<_> = (0..self.below(4)).map(|_| arg(self)).collect();
        let format: Vec<_> = (0..self.below(5)).map(|_| Piece::Conv(conversion(self))).collect();
        match self.below(8) {
            0 => Event::Value(arg(self)),
            1 => Event::Join {
                offset: self.below(20) as u32,
                size: self.below(20) as u32,
                separator: ",".into(),
            },
            2 => Event::Message { error: true, format, args, loc },
            3 => Event::Runtime { what: RuntimeError::Helper("map_update_elem"), loc },
            4 => Event::Packet { path: "p".into(), offset: self.below(40) as u32 },
            5 => Event::PrintMap { map: self.below(2) as usize, top: self.below(3), div: self.below(3) },
            6 => Event::Exit,
            _ => Event::Printf { format, args },
        }
    }
}

#[test]
fn no_record_is_fatal() {
    let mut random = Random(0x5eed);
    for _ in 0..300 {
        let events: Vec<_> = (0..8).map(|_| random.event()).collect();
        let plan = Plan {
            events,
            maps: vec![map(Some(random.layout(2)), MapValue::Plain(random.layout(2)), Storage::Buckets)],
            stacks: Some(MapId::from_u32(0)),
            ..Plan::default()
        };
        let mut list = Vec::new();
        for _ in 0..30 {
            let mut record = words(&[random.below(9)]);
            let len = random.below(130);
            record.extend(random.bytes(len));
            record.truncate(random.below(140) as usize);
            list.push(record);
        }
        for format in [OutputFormat::Text, OutputFormat::Json] {
            records(&plan, &list, format);
        }
    }
}

#[test]
fn no_element_is_fatal() {
    let mut random = Random(7);
    let (count, signed) = (3, true);
    for n in 0..600 {
        let value = match n % 8 {
            0 => MapValue::Agg(AggTy::Count),
            1 => MapValue::Agg(AggTy::Min(signed)),
            2 => MapValue::Agg(AggTy::Stats(signed)),
            3 => MapValue::Agg(AggTy::Avg(false)),
            4 => MapValue::Agg(AggTy::Hist { bits: random.below(6) as u8 }),
            5 => MapValue::Agg(AggTy::Lhist { min: i64::MIN, max: i64::MAX, step: i64::MAX / 500 }),
            6 => MapValue::Agg(AggTy::Tseries { interval: u64::MAX, count, agg: SeriesAgg::Avg, signed }),
            _ => MapValue::Plain(random.layout(2)),
        };
        let storage = match &value {
            MapValue::Agg(AggTy::Hist { .. } | AggTy::Lhist { .. } | AggTy::Tseries { .. }) => {
                Storage::KeyedBuckets
            }
            _ => {
                [Storage::Single { per_cpu: true }, Storage::Hash { per_cpu: true }][random.below(2) as usize]
            }
        };
        let elements = (0..random.below(4)).map(|_| {
            let mut key = random.bytes(8);
            let any = random.next();
            key.extend(words(&[if any.is_multiple_of(2) { any } else { any % 2000 }]));
            let len = random.below(60);
            let mut value = random.bytes(len);
            // Words where computing may overflow.
            for word in value.chunks_exact_mut(8) {
                match random.below(4) {
                    0 => word.fill(0xff),
                    1 => word.copy_from_slice(&i64::MIN.to_le_bytes()),
                    2 => word.fill(0),
                    _ => {}
                }
            }
            (key, value)
        });
        let mut world = World::new(1 + n % 3, elements.collect());
        let key = Some(random.layout(1));
        printed(map(key, value, storage), &mut world, 0);
    }
}
