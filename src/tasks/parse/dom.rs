//! HTML as a tree, by the rules that browsers follow: whatever is read becomes one.
//!
//! `html5ever` parses; the tree is a list of nodes that name each other by their place in it, so that neither building
//! nor dropping a deep one needs a deep stack.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};

use html5ever::interface::{ElemName, ElementFlags, NodeOrText, QuirksMode, TreeSink};
use html5ever::tendril::{StrTendril, TendrilSink};
use html5ever::{Attribute, LocalName, Namespace, ParseOpts, QualName, parse_document};

/// A node's place in the tree.
pub type Id = usize;

/// What a node is.
#[derive(Debug)]
pub enum Node {
    /// An element: its name and attributes.
    Element(QualName, Vec<Attribute>),
    /// Words.
    Text(String),
    /// The document itself, remarks, and whatever says nothing.
    Other,
}

#[derive(Debug)]
struct Slot {
    node: Node,
    parent: Option<Id>,
    children: Vec<Id>,
}

/// A tree; its root has the id 0.
#[derive(Debug)]
pub struct Dom {
    slots: Vec<Slot>,
    /// Places where the rules of HTML had to be bent.
    pub errors: usize,
}

impl Dom {
    /// Reads any text as HTML.
    pub fn parse(html: &str) -> Dom {
        let sink = Sink { slots: RefCell::new(vec![Slot::new(Node::Other)]), errors: Cell::new(0) };
        // Models write no doctype; its lack is no damage.
        let html = format!("<!DOCTYPE html>{html}");
        parse_document(sink, ParseOpts::default()).one(StrTendril::from(html.as_str()))
    }

    /// What a node is.
    pub fn node(&self, id: Id) -> &Node {
        &self.slots[id].node
    }

    /// The nodes in a node, in order.
    pub fn children(&self, id: Id) -> &[Id] {
        &self.slots[id].children
    }

    /// An element's name; empty for others.
    pub fn name(&self, id: Id) -> &str {
        match &self.slots[id].node {
            Node::Element(name, _) => &name.local,
            _ => "",
        }
    }

    /// An element's attribute.
    pub fn attribute(&self, id: Id, name: &str) -> Option<&str> {
        match &self.slots[id].node {
            Node::Element(_, attributes) => attributes.iter().find(|a| &*a.name.local == name).map(|a| &*a.value),
            _ => None,
        }
    }

    /// The first node below `id` that `wanted` holds for, in the document's order.
    pub fn find(&self, id: Id, wanted: impl Fn(Id) -> bool) -> Option<Id> {
        let mut open: Vec<Id> = self.children(id).iter().rev().copied().collect();
        while let Some(id) = open.pop() {
            if wanted(id) {
                return Some(id);
            }
            open.extend(self.children(id).iter().rev());
        }
        None
    }
}

impl Slot {
    fn new(node: Node) -> Slot {
        Slot { node, parent: None, children: Vec::new() }
    }
}

/// Builds the tree as the parser says.
struct Sink {
    slots: RefCell<Vec<Slot>>,
    errors: Cell<usize>,
}

/// The name of an element, as the parser asks for it.
#[derive(Debug)]
struct Name(QualName);

impl ElemName for Name {
    fn ns(&self) -> &Namespace {
        &self.0.ns
    }

    fn local_name(&self) -> &LocalName {
        &self.0.local
    }
}

impl Sink {
    fn add(&self, node: Node) -> Id {
        let mut slots = self.slots.borrow_mut();
        slots.push(Slot::new(node));
        slots.len() - 1
    }

    /// Puts a node into `parent` at `at`, or adds words to those that stand before.
    fn insert(&self, parent: Id, at: usize, child: NodeOrText<Id>) {
        let id = match child {
            NodeOrText::AppendNode(id) => {
                self.remove_from_parent(&id);
                id
            }
            NodeOrText::AppendText(words) => {
                let mut slots = self.slots.borrow_mut();
                let before = at.checked_sub(1).and_then(|before| slots[parent].children.get(before).copied());
                if let Some(Slot { node: Node::Text(text), .. }) = before.map(|id| &mut slots[id]) {
                    text.push_str(&words);
                    return;
                }
                slots.push(Slot::new(Node::Text(words.to_string())));
                slots.len() - 1
            }
        };
        let mut slots = self.slots.borrow_mut();
        slots[id].parent = Some(parent);
        let at = at.min(slots[parent].children.len());
        slots[parent].children.insert(at, id);
    }
}

impl TreeSink for Sink {
    type Handle = Id;
    type Output = Dom;
    type ElemName<'a> = Name;

    fn finish(self) -> Dom {
        Dom { slots: self.slots.into_inner(), errors: self.errors.get() }
    }

    fn parse_error(&self, _: Cow<'static, str>) {
        self.errors.set(self.errors.get() + 1);
    }

    fn get_document(&self) -> Id {
        0
    }

    fn elem_name(&self, target: &Id) -> Name {
        match &self.slots.borrow()[*target].node {
            Node::Element(name, _) => Name(name.clone()),
            // The parser never asks for these.
            _ => Name(QualName::new(None, Namespace::default(), LocalName::default())),
        }
    }

    fn create_element(&self, name: QualName, attributes: Vec<Attribute>, _: ElementFlags) -> Id {
        self.add(Node::Element(name, attributes))
    }

    fn create_comment(&self, _: StrTendril) -> Id {
        self.add(Node::Other)
    }

    fn create_pi(&self, _: StrTendril, _: StrTendril) -> Id {
        self.add(Node::Other)
    }

    fn append(&self, parent: &Id, child: NodeOrText<Id>) {
        let end = self.slots.borrow()[*parent].children.len();
        self.insert(*parent, end, child);
    }

    fn append_based_on_parent_node(&self, element: &Id, previous: &Id, child: NodeOrText<Id>) {
        if self.slots.borrow()[*element].parent.is_some() {
            self.append_before_sibling(element, child);
        } else {
            self.append(previous, child);
        }
    }

    fn append_doctype_to_document(&self, _: StrTendril, _: StrTendril, _: StrTendril) {}

    /// What is in a template counts like anything else.
    fn get_template_contents(&self, target: &Id) -> Id {
        *target
    }

    fn same_node(&self, x: &Id, y: &Id) -> bool {
        x == y
    }

    fn set_quirks_mode(&self, _: QuirksMode) {}

    fn append_before_sibling(&self, sibling: &Id, child: NodeOrText<Id>) {
        // A node that comes from before its new place leaves a gap there.
        if let NodeOrText::AppendNode(id) = &child {
            self.remove_from_parent(id);
        }
        let place = {
            let slots = self.slots.borrow();
            let parent = slots[*sibling].parent;
            parent.and_then(|p| Some((p, slots[p].children.iter().position(|id| id == sibling)?)))
        };
        if let Some((parent, at)) = place {
            self.insert(parent, at, child);
        }
    }

    fn add_attrs_if_missing(&self, target: &Id, attributes: Vec<Attribute>) {
        if let Node::Element(_, own) = &mut self.slots.borrow_mut()[*target].node {
            for attribute in attributes {
                if own.iter().all(|known| known.name != attribute.name) {
                    own.push(attribute);
                }
            }
        }
    }

    fn remove_from_parent(&self, target: &Id) {
        let mut slots = self.slots.borrow_mut();
        if let Some(parent) = slots[*target].parent.take() {
            slots[parent].children.retain(|id| id != target);
        }
    }

    fn reparent_children(&self, node: &Id, parent: &Id) {
        let mut slots = self.slots.borrow_mut();
        let moved = std::mem::take(&mut slots[*node].children);
        for &id in &moved {
            slots[id].parent = Some(*parent);
        }
        slots[*parent].children.extend(moved);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(dom: &Dom, id: Id) -> String {
        let inside: String = dom.children(id).iter().map(|&child| shape(dom, child)).collect();
        match dom.node(id) {
            Node::Element(name, _) => format!("<{}>{inside}</>", name.local),
            Node::Text(text) => text.clone(),
            Node::Other => inside,
        }
    }

    #[test]
    fn whole_html_is_read_without_errors_and_damaged_html_as_browsers_do() {
        let read = |html: &str| {
            let dom = Dom::parse(html);
            (shape(&dom, 0).replace("<html><head></><body>", "").replace("</></>", ""), dom.errors)
        };
        let whole = "<html><body>\n<p data-bbox=\"1 2 3 4\">a</p><div class=\"image\"><img data-bbox=\"1 2 3 4\"/></div>\n</body></html>";
        assert_eq!(read(whole).1, 0);
        assert_eq!(read("<p>a<p>b").0, "<p>a</><p>b</>");
        assert!(read("<table><tr><td>a<tr><td>b</table>c").0.starts_with("<table><tbody><tr><td>a"));
        assert!(read("<table>x<tr><td>a").0.starts_with("x<table>"), "what is lost in a table stands before it");
        assert!(read("<b>a<p>b</b>c</p>").1 > 0);
    }

    #[test]
    fn deep_and_odd_html_is_a_tree() {
        for html in
            ["<div>".repeat(1500), "<b><p>".repeat(300), "<table>".repeat(300), "\0<".repeat(1000), "&#x110000;".into()]
        {
            let dom = Dom::parse(&html);
            assert!(dom.find(0, |id| dom.name(id) == "body").is_some());
        }
    }
}
