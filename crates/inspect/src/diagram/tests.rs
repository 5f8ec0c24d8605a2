use swiommu_iommufd::{ObjectId, Reference};

use super::*;

fn node(id: u32, type_name: &'static str, refers_to: &[u32]) -> Node {
    let reference = |to: &u32| Reference {
        to: ObjectId(*to),
        label: String::new(),
    };
    Node {
        id: ObjectId(id),
        type_name,
        users: 0,
        refers_to: refers_to.iter().map(reference).collect(),
        facts: Vec::new(),
    }
}

fn drawn(format: Format, nodes: &[Node]) -> String {
    format.draw(&[Graph {
        title: "a context".to_owned(),
        nodes: nodes.to_vec(),
    }])
}

fn nesting() -> Vec<Node> {
    vec![
        node(1, "IOAS", &[]),
        node(3, "DEVICE", &[6]),
        node(4, "HWPT_PAGING", &[1]),
        node(6, "HWPT_NESTED", &[4]),
        node(7, "HWPT_NESTED", &[4]),
    ]
}

#[test]
fn what_refers_stands_to_the_right_of_what_is_referred_to() {
    let expected = "\
a context

┌────────┐     ┌───────────────┐     ┌───────────────┐     ┌──────────┐
│ IOAS 1 │◄────│ HWPT_PAGING 4 │◄──┬─│ HWPT_NESTED 6 │◄────│ DEVICE 3 │
└────────┘     └───────────────┘   │ └───────────────┘     └──────────┘
                                   │ ┌───────────────┐
                                   └─│ HWPT_NESTED 7 │
                                     └───────────────┘
";
    assert_eq!(drawn(Format::Text, &nesting()), expected);
}

#[test]
fn an_object_with_two_references_is_drawn_at_both() {
    let mut device = node(3, "DEVICE", &[1, 2]);
    device.refers_to[1].label = "PASID 0x5".to_owned();
    let nodes = [
        node(1, "HWPT_PAGING", &[]),
        node(2, "HWPT_PAGING", &[]),
        device,
    ];
    let text = drawn(Format::Text, &nodes);
    assert_eq!(text.matches("DEVICE 3").count(), 2);
    assert_eq!(text.matches("PASID 0x5").count(), 1);
    let picture = drawn(Format::Svg, &nodes);
    assert_eq!(picture.matches("DEVICE 3").count(), 1);
    assert_eq!(picture.matches("marker-end").count(), 2);
    assert_eq!(picture.matches("PASID 0x5").count(), 1);
}

#[test]
fn references_to_objects_that_are_gone_make_a_root() {
    let nodes = [node(3, "DEVICE", &[9])];
    for format in [Format::Text, Format::Svg, Format::Dot] {
        assert!(drawn(format, &nodes).contains("DEVICE 3"));
    }
}

#[test]
fn a_column_lies_to_the_right_of_all_that_its_objects_refer_to() {
    let mut nodes = nesting();
    nodes.push(node(8, "VDEVICE", &[1, 3]));
    let columns: Vec<Vec<u32>> = ranks::columns(&nodes)
        .iter()
        .map(|column| column.iter().map(|node| node.id.0).collect())
        .collect();
    assert_eq!(columns, [vec![1], vec![4], vec![6, 7], vec![3], vec![8]]);
}

#[test]
fn a_circle_ends() {
    let nodes = [node(1, "IOAS", &[2]), node(2, "IOAS", &[1])];
    let placed: usize = ranks::columns(&nodes).iter().map(Vec::len).sum();
    assert_eq!(placed, 2);
}

#[test]
fn boxes_of_a_picture_do_not_overlap() {
    let picture = drawn(Format::Svg, &nesting());
    let number = |line: &str, name: &str| -> u32 {
        let (_, rest) = line.split_once(&format!(" {name}=\"")).unwrap_or_default();
        rest.split('"')
            .next()
            .unwrap_or_default()
            .parse()
            .unwrap_or(0)
    };
    let boxes: Vec<[u32; 4]> = picture
        .lines()
        .filter(|line| line.starts_with("<rect"))
        .map(|line| ["x", "y", "width", "height"].map(|name| number(line, name)))
        .collect();
    assert_eq!(boxes.len(), 5);
    for (n, [x, y, width, height]) in boxes.iter().enumerate() {
        assert!(*width > 0 && *height > 0);
        for [x2, y2, width2, height2] in &boxes[n + 1..] {
            let apart =
                x + width <= *x2 || x2 + width2 <= *x || y + height <= *y2 || y2 + height2 <= *y;
            assert!(apart, "{boxes:?}");
        }
    }
}

#[test]
fn text_from_outside_stays_text() {
    let mut graph = Graph {
        title: "PID 7 (a<b>\"&\\c\")".to_owned(),
        nodes: Vec::new(),
    };
    graph.nodes.push(node(1, "IOAS", &[]));
    let picture = Format::Svg.draw(&[graph.clone()]);
    assert!(
        picture.contains("a&lt;b&gt;&quot;&amp;\\c&quot;"),
        "{picture}"
    );
    let dot = Format::Dot.draw(&[graph]);
    assert!(dot.contains(r#"label = "PID 7 (a<b>\"&\\c\")""#), "{dot}");
}

#[test]
fn a_format_is_known_by_its_extension() {
    let of = |path: &str| Format::of(Path::new(path));
    assert_eq!(of("a.svg"), Ok(Format::Svg));
    assert_eq!(of("/x/b.dot"), Ok(Format::Dot));
    assert_eq!(of("c.txt"), Ok(Format::Text));
    assert!(of("d.png").is_err() && of("e").is_err());
}
