//! What stood where the gate changed something, so that it can be put back.

use serde_json::{Map, Value, json};

use super::{
    draft::{Draft, State},
    error::{InjectError, Reason},
    manifest::{INJECTED, ORIGINAL, Object},
    path::Path,
};

const ANNOTATIONS: &str = "annotations";

/// What stood there before, by what it is called here: a text, or null where there was nothing, not even the key. What was
/// only added to is not in it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Memory(Map<String, Value>);

impl Memory {
    /// Reads an annotation. `None`: it is none.
    fn read(text: &str) -> Option<Self> {
        let map: Map<String, Value> = serde_json::from_str(text).ok()?;
        let is_sound = map.values().all(|value| value.is_null() || value.is_string());
        is_sound.then_some(Self(map))
    }

    /// Reads that of an object.
    pub(super) fn of(draft: &Draft, object: &Object) -> Result<Self, InjectError> {
        let tree = draft.tree()?;
        let text = object.path.find(&tree).and_then(|node| tree.text_at(node, &["metadata", ANNOTATIONS, ORIGINAL]));
        let memory = text.and_then(Self::read);
        memory.ok_or_else(|| draft.at_path(&tree, &object.path, Reason::Memory(object.title.clone())))
    }

    /// Keeps a text beside what stood there.
    pub(super) fn keep(&mut self, name: &str, text: &str) {
        self.0.insert(name.to_owned(), text.into());
    }

    pub(super) fn kept(&self, name: &str) -> Option<&str> {
        self.0.get(name)?.as_str()
    }

    /// Whether it knows what stood there.
    pub(super) fn knows(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// Adds an item to the list behind `key`, which is made where there is none, in a block before the key `before`.
    pub(super) fn add_item(
        &mut self,
        draft: &mut Draft,
        map: &Path,
        key: &str,
        first: bool,
        item: &Value,
    ) -> Result<(), InjectError> {
        match draft.state(map, key)? {
            State::Absent => {
                self.0.insert(key.to_owned(), Value::Null);
                // Where a reader looks for them: beside the containers.
                draft.insert_pair(map, key, &json!([item]), first.then_some("containers"))
            }
            state if must_be_filled(draft, map, &state)? => self.fill(draft, map, key, &json!([item])),
            _ => draft.insert_item(&map.key(key), first, item),
        }
    }

    /// Adds a pair to the mapping behind `key`, which is made where there is none.
    pub(super) fn add_pair(
        &mut self,
        draft: &mut Draft,
        map: &Path,
        key: &str,
        (name, value): (&str, &Value),
    ) -> Result<(), InjectError> {
        match draft.state(map, key)? {
            State::Absent => {
                self.0.insert(key.to_owned(), Value::Null);
                draft.insert_pair(map, key, &json!({name: value}), None)
            }
            state if must_be_filled(draft, map, &state)? => self.fill(draft, map, key, &json!({name: value})),
            _ => draft.insert_pair(&map.key(key), name, value, None),
        }
    }

    fn fill(&mut self, draft: &mut Draft, map: &Path, key: &str, value: &Value) -> Result<(), InjectError> {
        if let Some(word) = draft.fill(map, key, value)? {
            self.0.insert(key.to_owned(), word.into());
        }
        Ok(())
    }

    /// Puts a scalar behind `key`. `name`: what it is called here.
    pub(super) fn set(
        &mut self,
        draft: &mut Draft,
        map: &Path,
        (key, name): (&str, &str),
        value: &Value,
    ) -> Result<(), InjectError> {
        let former = match draft.state(map, key)? {
            State::Absent => {
                draft.insert_pair(map, key, value, None)?;
                Value::Null
            }
            _ => draft.replace(map, key, value)?.into(),
        };
        self.0.insert(name.to_owned(), former);
        Ok(())
    }

    /// Writes it into the annotations of something that was changed for this workload.
    pub(super) fn write(mut self, draft: &mut Draft, metadata: &Path, workload: &str) -> Result<(), InjectError> {
        // What becomes of the annotations themselves has to stand in them, so they are made first.
        self.add_pair(draft, metadata, ANNOTATIONS, (INJECTED, &json!(workload)))?;
        let memory = Value::Object(self.0).to_string();
        draft.insert_pair(&metadata.key(ANNOTATIONS), ORIGINAL, &json!(memory), None)
    }

    /// Takes it out of the annotations.
    pub(super) fn erase(&self, draft: &mut Draft, metadata: &Path) -> Result<(), InjectError> {
        for name in [ORIGINAL, INJECTED] {
            draft.remove_pair(&metadata.key(ANNOTATIONS), name)?;
        }
        self.restore(draft, metadata, ANNOTATIONS)
    }

    /// Puts back what stood behind `key` before the first entry, when the last one was taken out.
    pub(super) fn restore(&self, draft: &mut Draft, map: &Path, key: &str) -> Result<(), InjectError> {
        let is_empty = match draft.state(map, key)? {
            State::Empty => true,
            State::Collection { is_empty } => is_empty,
            _ => false,
        };
        match self.0.get(key) {
            Some(Value::Null) if is_empty => draft.remove_pair(map, key),
            Some(Value::String(word)) if is_empty => draft.unfill(map, key, word),
            _ => Ok(()),
        }
    }

    /// Puts back the scalar behind `key`.
    pub(super) fn reset(&self, draft: &mut Draft, map: &Path, (key, name): (&str, &str)) -> Result<(), InjectError> {
        match (self.0.get(name), draft.state(map, key)?) {
            (Some(Value::Null), _) => draft.remove_pair(map, key),
            (Some(Value::String(text)), State::Scalar(_)) => draft.put_back(&map.key(key), text),
            _ => Ok(()),
        }
    }
}

/// Whether entries cannot be added to what is there: nothing, a word for it, or brackets where others have lines.
fn must_be_filled(draft: &Draft, map: &Path, state: &State) -> Result<bool, InjectError> {
    Ok(match state {
        State::Empty | State::Null => true,
        State::Collection { is_empty: true } => !draft.is_flow(map)?,
        _ => false,
    })
}
