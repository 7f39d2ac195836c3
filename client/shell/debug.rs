//! The debug switches of one session: which applications, whether they are printed, and until when (domain sheet, section 3.5).

use std::collections::BTreeMap;
use std::fmt::Write as _;

use time::{Duration, OffsetDateTime};

/// How many minutes debugs stay on if nobody says otherwise.
const MINUTES: u32 = 30;
/// The most that can be asked for.
const MOST_MINUTES: u32 = 99_999;
/// What FortiToken Cloud itself says; its switch is one of its own.
const CLOUD: &str = "ftc";

/// The debug switches of one session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Debug {
    printing: bool,
    timestamps: bool,
    applications: BTreeMap<String, i32>,
    /// 0 means for ever.
    minutes: u32,
    ends: Option<OffsetDateTime>,
    /// How often printing was asked for.
    asked: u64,
}

impl Default for Debug {
    fn default() -> Self {
        Self {
            printing: false,
            timestamps: false,
            applications: BTreeMap::new(),
            minutes: MINUTES,
            ends: None,
            asked: 0,
        }
    }
}

impl Debug {
    /// Whether debug messages are printed in this session.
    #[must_use]
    pub fn is_printing(&self) -> bool {
        self.printing
    }

    /// How often printing was asked for: a feed that is over is opened anew when it is asked for again.
    #[must_use]
    pub fn asked(&self) -> u64 {
        self.asked
    }

    /// Whether each begins with its time.
    #[must_use]
    pub fn has_timestamps(&self) -> bool {
        self.timestamps
    }

    /// Whether a message of this application and level is printed.
    #[must_use]
    pub fn shows(&self, application: &str, level: u32) -> bool {
        let mask = self.applications.get(application).copied().unwrap_or(0);
        // A message without a level, which no server of this version sends, is shown if anything of its application is.
        self.printing && (u32::from_ne_bytes(mask.to_ne_bytes()) & level != 0 || (level == 0 && mask != 0))
    }

    /// When the debugs end by themselves.
    #[must_use]
    pub fn ends(&self) -> Option<OffsetDateTime> {
        self.ends
    }

    /// `diagnose debug {enable|disable}`. `disable` stops the printing alone.
    pub fn print(&mut self, on: bool, now: OffsetDateTime) {
        self.printing = on;
        if on {
            self.asked += 1;
            self.begin(now);
        }
    }

    /// `diagnose debug console timestamp {enable|disable}`.
    pub fn timestamps(&mut self, on: bool) {
        self.timestamps = on;
    }

    /// `diagnose fortitoken-cloud debug {enable|disable}`.
    pub fn cloud(&mut self, on: bool, now: OffsetDateTime) {
        let _ = self.application(CLOUD, if on { -1 } else { 0 }, now);
    }

    /// Whether `diagnose fortitoken-cloud debug` is on.
    #[must_use]
    pub fn has_cloud(&self) -> bool {
        self.applications.contains_key(CLOUD)
    }

    /// `diagnose debug application NAME LEVEL`, and what it answers.
    pub fn application(&mut self, name: &str, level: i32, now: OffsetDateTime) -> String {
        if level == 0 {
            self.applications.remove(name);
            return String::new();
        }
        self.applications.insert(name.to_owned(), level);
        self.begin(now);
        self.remaining(now)
    }

    /// The level of an application.
    #[must_use]
    pub fn level(&self, name: &str) -> i32 {
        self.applications.get(name).copied().unwrap_or(0)
    }

    /// `diagnose debug duration MINUTES`, and what it answers; nothing if it cannot be so long.
    pub fn duration(&mut self, minutes: u32, now: OffsetDateTime) -> Option<String> {
        if minutes > MOST_MINUTES {
            return None;
        }
        self.minutes = minutes;
        if self.ends.take().is_some() || self.printing || !self.applications.is_empty() {
            self.begin(now);
        }
        Some(self.current_duration())
    }

    /// `diagnose debug duration`.
    #[must_use]
    pub fn current_duration(&self) -> String {
        match self.minutes {
            0 => "Current duration is set to unlimited.".to_owned(),
            1 => "Current duration is set to 1 minute.".to_owned(),
            minutes => format!("Current duration is set to {minutes} minutes."),
        }
    }

    /// `diagnose debug reset`: everything off, and the duration as it was from the factory.
    pub fn reset(&mut self) {
        *self = Self { timestamps: self.timestamps, asked: self.asked, ..Self::default() };
    }

    /// Ends the debugs if their time is over, and says so.
    pub fn expire(&mut self, now: OffsetDateTime) -> bool {
        let over = self.ends.is_some_and(|ends| ends <= now);
        if over {
            let (timestamps, minutes, asked) = (self.timestamps, self.minutes, self.asked);
            *self = Self { timestamps, minutes, asked, ..Self::default() };
        }
        over
    }

    fn begin(&mut self, now: OffsetDateTime) {
        if self.ends.is_none() && self.minutes > 0 {
            self.ends = Some(now + Duration::minutes(i64::from(self.minutes)));
        }
    }

    fn remaining(&self, now: OffsetDateTime) -> String {
        match self.ends {
            None => "Debug messages will be on for unlimited time.\n".to_owned(),
            Some(ends) => {
                // A minute that has begun counts as a whole one.
                let minutes = (ends - now).whole_seconds().max(0).div_euclid(60)
                    + i64::from((ends - now).whole_seconds().max(0) % 60 != 0);
                format!("Debug messages will be on for {minutes} minutes.\n")
            }
        }
    }

    /// `diagnose debug info`. The layout is that of FortiOS as far as it is known.
    #[must_use]
    pub fn info(&self) -> String {
        let on = |on: bool| if on { "enable" } else { "disable" };
        let mut text = format!(
            "debug output:           {}\nconsole timestamp:      {}\nconsole no user log message:    disable\n",
            on(self.printing),
            on(self.timestamps)
        );
        for (name, level) in &self.applications {
            let _ = writeln!(text, "{name} debug level:     {level} ({level:#x})");
        }
        text.push_str("CLI debug level:        3\n");
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: OffsetDateTime = time::macros::datetime!(2026-03-01 12:00 UTC);

    #[test]
    fn debugs_end_by_themselves_after_thirty_minutes() {
        let mut debug = Debug::default();
        assert_eq!(debug.application("fnbamd", -1, START), "Debug messages will be on for 30 minutes.\n");
        debug.print(true, START + Duration::minutes(2));
        let later = debug.application("httpsd", 255, START + Duration::minutes(2));
        assert_eq!(later, "Debug messages will be on for 28 minutes.\n");
        assert!(debug.shows("fnbamd", 8) && debug.shows("httpsd", 4) && !debug.shows("ftc", 1));
        assert!(!debug.expire(START + Duration::minutes(29)));
        assert!(debug.expire(START + Duration::minutes(30)));
        assert!(!debug.is_printing() && debug.level("fnbamd") == 0);
    }

    #[test]
    fn a_duration_of_zero_is_for_ever() {
        let mut debug = Debug::default();
        assert_eq!(debug.duration(0, START).unwrap(), "Current duration is set to unlimited.");
        assert_eq!(debug.application("fnbamd", -1, START), "Debug messages will be on for unlimited time.\n");
        assert_eq!(debug.ends(), None);
        assert_eq!(debug.duration(100_000, START), None);
        assert_eq!(debug.duration(1, START).unwrap(), "Current duration is set to 1 minute.");
        assert_eq!(debug.ends(), Some(START + Duration::minutes(1)));
    }

    #[test]
    fn a_mask_selects_levels_and_zero_switches_off() {
        let mut debug = Debug::default();
        debug.print(true, START);
        debug.application("ftc", 3, START);
        assert!(debug.shows("ftc", 1) && debug.shows("ftc", 2) && !debug.shows("ftc", 4));
        assert_eq!(debug.application("ftc", 0, START), "");
        assert!(!debug.shows("ftc", 1));
    }

    #[test]
    fn disable_stops_the_printing_and_reset_everything() {
        let mut debug = Debug::default();
        debug.cloud(true, START);
        debug.timestamps(true);
        debug.print(true, START);
        debug.print(false, START);
        assert!(!debug.shows("ftc", 1) && debug.has_cloud());
        debug.reset();
        assert!(!debug.has_cloud() && debug.has_timestamps());
    }
}
