//! Which debug lines the server asked for, and until when.

use std::time::Duration;

use muster_proto::v1;
use tokio::time::Instant;

/// How long debug stays on if the server does not say, as in FortiOS (domain sheet, section 3.5).
const DEBUG: Duration = Duration::from_mins(30);

/// Which debug lines the server asked for. It ends by itself: a server that is gone cannot end it.
#[derive(Debug)]
pub(super) struct Wish {
    components: Vec<String>,
    mask: i32,
    until: Instant,
}

impl Wish {
    /// Reads what the server asked for; `None` if it wants nothing any more.
    pub(super) fn new(debug: &v1::ChannelDebug, now: Instant) -> Option<Self> {
        let time = super::duration(debug.duration).unwrap_or(DEBUG);
        let until = now.checked_add(time)?;
        (debug.level_mask != 0).then(|| Self { components: debug.components.clone(), mask: debug.level_mask, until })
    }

    /// Whether it is over.
    pub(super) fn is_over(&self, now: Instant) -> bool {
        self.until <= now
    }

    /// Whether a line of this component and level is wanted.
    pub(super) fn wants(&self, component: &str, level: u32, now: Instant) -> bool {
        let named = self.components.is_empty() || self.components.iter().any(|named| named == component);
        let mask = u32::from_ne_bytes(self.mask.to_ne_bytes());
        named && mask & level != 0 && !self.is_over(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(components: &[&str], level_mask: i32, seconds: Option<i64>) -> v1::ChannelDebug {
        v1::ChannelDebug {
            components: components.iter().map(|name| (*name).to_owned()).collect(),
            level_mask,
            duration: seconds.map(|seconds| prost_types::Duration { seconds, nanos: 0 }),
            ..Default::default()
        }
    }

    #[test]
    fn a_wish_selects_components_and_levels_and_zero_ends_it() {
        let now = Instant::now();
        let wish = Wish::new(&asked(&["fnbamd"], 3, None), now).unwrap();
        assert!(wish.wants("fnbamd", 1, now) && wish.wants("fnbamd", 2, now));
        assert!(!wish.wants("fnbamd", 4, now) && !wish.wants("httpsd", 1, now));
        let all = Wish::new(&asked(&[], -1, None), now).unwrap();
        assert!(all.wants("httpsd", 8, now));
        assert!(Wish::new(&asked(&[], 0, None), now).is_none());
    }

    #[test]
    fn a_wish_ends_by_itself() {
        let now = Instant::now();
        let wish = Wish::new(&asked(&[], 255, Some(90)), now).unwrap();
        assert!(wish.wants("ftc", 1, now + Duration::from_secs(89)));
        assert!(!wish.wants("ftc", 1, now + Duration::from_secs(90)));
        let wish = Wish::new(&asked(&[], 255, None), now).unwrap();
        assert!(!wish.is_over(now + DEBUG - Duration::from_millis(1)) && wish.is_over(now + DEBUG));
        // What no clock can hold is no wish.
        assert!(Wish::new(&asked(&[], 255, Some(i64::MAX)), now).is_none_or(|wish| !wish.is_over(now)));
    }
}
