//! Changes of a configuration: each touches the lines that it is about, and no other.

use crate::conf::tree::{Block, Body, Kind, Node, Setting};
use crate::conf::words::Word;

impl Block {
    /// Takes the `next` away: the `end` of its table ends this row, as FortiOS writes the rows of VDOMs that hold something.
    pub fn ended_by_its_table(&mut self) -> &mut Body {
        self.close.clear();
        &mut self.body
    }
}

impl Body {
    /// Sets values; their line stays as it is if it says so already.
    pub fn set(&mut self, name: &str, values: &[Word], depth: usize) {
        let texts: Vec<String> = values.iter().map(|word| word.text.clone()).collect();
        if self.get(name) == Some(&texts) {
            return;
        }
        let written: Vec<_> = values.iter().map(Word::written).collect();
        let text = format!("{}set {name} {}\n", " ".repeat(4 * depth), written.join(" "));
        let new = Node::Setting(Setting { name: name.to_owned(), values: texts, text });
        let place = self.nodes.iter().position(|node| matches!(node, Node::Setting(old) if old.name == name));
        self.unset(name);
        // Settings come before the blocks inside a row, as FortiOS writes them.
        let place = place.unwrap_or_else(|| {
            let last = self.nodes.iter().rposition(|node| matches!(node, Node::Setting(_)));
            let first_block = self.nodes.iter().position(|node| matches!(node, Node::Block(_)));
            last.map(|last| last + 1).or(first_block).unwrap_or(self.nodes.len())
        });
        self.terminate(place);
        self.nodes.insert(place, new);
    }

    /// Takes a setting away.
    pub fn unset(&mut self, name: &str) {
        self.nodes.retain(|node| !matches!(node, Node::Setting(old) if old.name == name));
    }

    /// The last block of this name, made at the end if there is none.
    pub fn block(&mut self, kind: Kind, name: &str, depth: usize) -> &mut Block {
        let found = |node: &Node| matches!(node, Node::Block(block) if block.kind == kind && block.name == name);
        let place = self.nodes.iter().rposition(found).unwrap_or_else(|| {
            let written = match kind {
                Kind::Config => name.to_owned(),
                Kind::Edit => {
                    Word { text: name.to_owned(), quoted: name.parse::<u32>().is_err() && depth > 0 }.written()
                }
            };
            self.append(Block::new(kind, name, &written, depth))
        });
        match self.nodes.get_mut(place) {
            Some(Node::Block(block)) => block,
            _ => unreachable!("the place is that of a block"),
        }
    }

    /// Adds a block at the end, whatever else has its name, and says where.
    pub fn append_block(&mut self, kind: Kind, name: &str, depth: usize) -> &mut Block {
        let place = self.append(Block::new(kind, name, name, depth));
        match self.nodes.get_mut(place) {
            Some(Node::Block(block)) => block,
            _ => unreachable!("the place is that of a block"),
        }
    }

    fn append(&mut self, block: Block) -> usize {
        let place = self.nodes.len();
        self.terminate(place);
        self.nodes.push(Node::Block(block));
        place
    }

    /// Makes sure that what stands before a place ends its line.
    fn terminate(&mut self, place: usize) {
        let Some(before) = place.checked_sub(1).and_then(|before| self.nodes.get_mut(before)) else { return };
        let text = match before {
            Node::Setting(setting) => &mut setting.text,
            Node::Block(block) => &mut block.close,
            Node::Other(text) => text,
        };
        if !text.ends_with('\n') && !text.is_empty() {
            text.push('\n');
        }
    }

    /// Adds a block that was taken from elsewhere.
    pub fn push(&mut self, block: Block) {
        self.append(block);
    }

    /// Adds a blank line at the end.
    pub fn append_blank(&mut self) {
        self.terminate(self.nodes.len());
        self.nodes.push(Node::Other("\n".to_owned()));
    }

    /// Takes the blocks away that fit, each with the blank line before it, and says whether there were any.
    pub fn remove(&mut self, kind: Kind, mut fits: impl FnMut(&Block) -> bool) -> bool {
        let before = self.nodes.len();
        let mut kept: Vec<Node> = Vec::with_capacity(before);
        for node in self.nodes.drain(..) {
            match node {
                Node::Block(block) if block.kind == kind && fits(&block) => {
                    kept.pop_if(|last| matches!(last, Node::Other(text) if text.trim().is_empty()));
                }
                node => kept.push(node),
            }
        }
        self.nodes = kept;
        self.nodes.len() != before
    }

    /// Takes the tables away that fit, and gives them.
    #[must_use]
    pub fn take(&mut self, mut fits: impl FnMut(&Block) -> bool) -> Self {
        let fits = |node: &mut Node| matches!(node, Node::Block(block) if fits(block));
        Self { nodes: self.nodes.extract_if(.., fits).collect() }
    }

    /// Adds all of another body at the end.
    pub fn extend(&mut self, other: Self) {
        self.terminate(self.nodes.len());
        self.nodes.extend(other.nodes);
    }

    /// Adds what another configuration says, as if it were typed: settings replace those of the same name, rows and tables are merged.
    pub fn merge(&mut self, other: Self, depth: usize) {
        for node in other.nodes {
            match node {
                Node::Setting(setting) if setting.values.is_empty() => self.unset(&setting.name),
                Node::Setting(setting) => {
                    if self.get(&setting.name) != Some(&setting.values) {
                        let values: Vec<Word> = setting.values.iter().map(|text| Word::quoted(text.as_str())).collect();
                        self.set(&setting.name, &values, depth);
                        // As it was written there: which words need quotes is for FortiOS to know.
                        let text = setting.text.trim_start().to_owned();
                        self.rewrite(&setting.name, format!("{}{text}", " ".repeat(4 * depth)));
                    }
                }
                Node::Block(block) => {
                    let inside = depth + usize::from(!(depth == 0 && is_scope(&block)));
                    self.block(block.kind, &block.name, depth).body.merge(block.body, inside);
                }
                Node::Other(_) => {}
            }
        }
    }

    fn rewrite(&mut self, name: &str, text: String) {
        for node in &mut self.nodes {
            match node {
                Node::Setting(setting) if setting.name == name => {
                    setting.text = text;
                    if !setting.text.ends_with('\n') {
                        setting.text.push('\n');
                    }
                    return;
                }
                _ => {}
            }
        }
    }
}

/// `config global`, `config vdom` and the rows of the latter do not indent what they hold.
fn is_scope(block: &Block) -> bool {
    block.kind == Kind::Edit || matches!(block.name.as_str(), "global" | "vdom")
}
