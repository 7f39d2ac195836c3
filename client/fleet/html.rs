//! The report as one page: a table and plots, with nothing to load.

use std::fmt::Write as _;

use super::plot::{Axis, Band, Series, escape, lines, marks};
use super::report::Report;
use super::summary;

const STYLE: &str = "\
body{font:15px/1.5 system-ui,sans-serif;color:#1f2328;background:#fff;max-width:60rem;margin:2rem auto;padding:0 1rem}\
h1{font-size:1.5rem;margin-bottom:0}h2{font-size:1.15rem;margin-top:2rem}\
.wide{overflow-x:auto}table{border-collapse:collapse;font-variant-numeric:tabular-nums;width:100%}\
th,td{white-space:nowrap;padding:.25rem .6rem;text-align:right;border-bottom:1px solid #d8dee4}th:first-child,td:first-child{text-align:left}\
figure{margin:1.5rem 0}figcaption{font-weight:600;margin-bottom:.3rem}svg{width:100%;height:auto;display:block}\
svg text{font:11px system-ui,sans-serif;fill:#57606a}svg .band{fill:#8c959f}.grid{stroke:#e6eaef}.axis{stroke:#8c959f}\
.legend{list-style:none;display:flex;flex-wrap:wrap;gap:1rem;padding:0;margin:.3rem 0;font-size:.85rem}\
.legend span{display:inline-block;width:.8rem;height:.8rem;margin-right:.35rem;border-radius:2px;vertical-align:-1px}\
.verdict{padding:.5rem .8rem;border-radius:6px;font-weight:600}.good{background:#dafbe1;color:#116329}.bad{background:#ffebe9;color:#82071e}\
code,li.broken{font-family:ui-monospace,monospace;font-size:.85rem}";

/// The decades of a percentile plot: 0 is the median of nothing, 1 is 90 %, 2 is 99 %, and so on.
const DECADES: [(f64, &str); 6] =
    [(0.0, "0 %"), (1.0, "90 %"), (2.0, "99 %"), (3.0, "99.9 %"), (4.0, "99.99 %"), (5.0, "99.999 %")];

/// The page.
pub fn page(report: &Report) -> anyhow::Result<String> {
    let mut html = String::new();
    let Report { scenario, run, boxes, vdoms, users, seed, server, seconds, about, .. } = report;
    let title = format!("Fleet: {}", escape(scenario));
    write!(html, "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title>")?;
    write!(
        html,
        "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"><style>{STYLE}</style></head><body>"
    )?;
    write!(html, "<h1>{title}</h1><p>{}</p>", escape(about))?;
    write!(
        html,
        "<p>Run {}, part {}, seed {seed}: {boxes} boxes of {vdoms} VDOMs and {users} users at <code>{}</code>, {seconds:.1} s.</p>",
        escape(run),
        escape(&report.parts.join(" and ")),
        escape(server)
    )?;
    verdict(&mut html, report)?;
    table(&mut html, report)?;
    facts(&mut html, report)?;
    html.push_str("<h2>Plots</h2>");
    html.push_str(&percentiles(report)?);
    html.push_str(&timeline(report)?);
    html.push_str("</body></html>\n");
    Ok(html)
}

fn verdict(html: &mut String, report: &Report) -> anyhow::Result<()> {
    if report.is_good() {
        write!(html, "<p class=\"verdict good\">Everything held.</p>")?;
        return Ok(());
    }
    let failed: u64 = report.rows.values().map(|row| row.failed).sum();
    let broken = report.broken_count;
    write!(
        html,
        "<p class=\"verdict bad\">{broken} things did not hold, and {failed} operations were given up.</p><ul>"
    )?;
    for broken in &report.broken {
        write!(html, "<li class=\"broken\">{}</li>", escape(broken))?;
    }
    write!(html, "</ul>")?;
    Ok(())
}

fn table(html: &mut String, report: &Report) -> anyhow::Result<()> {
    write!(html, "<h2>Operations</h2><div class=\"wide\"><table><thead><tr>")?;
    for head in ["operation", "due", "done", "failed", "retried", "a second", "p50", "p90", "p99", "p99.9", "longest"] {
        write!(html, "<th scope=\"col\">{head}</th>")?;
    }
    write!(html, "</tr></thead><tbody>")?;
    for (kind, row) in &report.rows {
        let times = row.histogram()?;
        write!(html, "<tr><td>{}</td>", escape(kind.name()))?;
        for count in [row.due, row.done, row.failed, row.retries()] {
            write!(html, "<td>{count}</td>")?;
        }
        write!(html, "<td>{:.1}</td>", summary::rate(row))?;
        for quantile in [0.5, 0.9, 0.99, 0.999, 1.0] {
            write!(html, "<td>{}</td>", summary::time(times.value_at_quantile(quantile)))?;
        }
        write!(html, "</tr>")?;
    }
    write!(html, "</tbody></table></div>")?;
    Ok(())
}

fn facts(html: &mut String, report: &Report) -> anyhow::Result<()> {
    write!(html, "<ul>")?;
    for storm in &report.storms {
        write!(
            html,
            "<li>Restart: the server was away for {:.2} s; {} of {} boxes were back in sync {:.2} s after it was back.</li>\
             <li>Meanwhile: the longest stall of a healthy box was {}, of {} syncs; {} errors were not retried.</li>",
            storm.outage,
            storm.returned,
            storm.lost,
            storm.recovery,
            summary::time_of(storm.stall),
            storm.healthy,
            storm.unretried
        )?;
    }
    if let Some(each) = summary::memory(report) {
        write!(html, "<li>Memory of the stand-in: {each:.1} KiB a box.</li>")?;
    }
    let checked = report.checked;
    write!(
        html,
        "<li>Compared: {} devices, {} VDOMs, {} users; {} operations in {} events of {} viewers, with {} events in {} gaps.</li>",
        checked.devices,
        checked.vdoms,
        checked.users,
        checked.operations,
        checked.events,
        checked.viewers,
        checked.missed,
        checked.gaps
    )?;
    for (kind, row) in &report.rows {
        if !row.retried.is_empty() {
            let causes: Vec<_> = row.retried.iter().map(|(why, count)| format!("{count} x {}", escape(why))).collect();
            write!(html, "<li>Retried, {}: {}.</li>", escape(kind.name()), causes.join(", "))?;
        }
    }
    for note in &report.notes {
        write!(html, "<li>{}</li>", escape(note))?;
    }
    write!(html, "</ul>")?;
    Ok(())
}

/// Latencies by percentile: both axes are logarithmic, as a tail wants to be seen.
fn percentiles(report: &Report) -> anyhow::Result<String> {
    let (mut series, mut decades) = (Vec::new(), 1.0_f64);
    for (kind, row) in &report.rows {
        let times = row.histogram()?;
        if times.is_empty() {
            continue;
        }
        // Of so many times the last decade has one: beyond it there is nothing to show.
        #[expect(clippy::cast_precision_loss, reason = "for a plot")]
        let last = (times.len() as f64).log10();
        decades = decades.max(last.ceil().clamp(1.0, 5.0));
        let at = |step: u32| {
            let decade = (f64::from(step) / 100.0) * last.min(5.0);
            let value = times.value_at_quantile(1.0 - 10_f64.powf(-decade));
            #[expect(clippy::cast_precision_loss, reason = "for a plot")]
            let micros = value.max(1) as f64;
            (decade, micros.log10())
        };
        series.push(Series { name: kind.name().to_owned(), points: (0..=100).map(at).collect() });
    }
    let values = || series.iter().flat_map(|series| &series.points).map(|point| point.1);
    let (least, greatest) = (values().fold(f64::INFINITY, f64::min), values().fold(0.0, f64::max));
    let (from, to) = (if least.is_finite() { least.floor() } else { 0.0 }, greatest.ceil().max(1.0));
    let units = ["1 us", "10 us", "100 us", "1 ms", "10 ms", "100 ms", "1 s", "10 s", "100 s", "1000 s"];
    let marks = (0_u32..).map(f64::from).zip(units).filter(|(decade, _)| (from..=to).contains(decade));
    let y =
        Axis { label: "latency, from when it was due", marks: marks.map(|(at, text)| (at, text.to_owned())).collect() };
    let x = DECADES.iter().filter(|(at, _)| *at <= decades).map(|(at, text)| (*at, (*text).to_owned()));
    let x = Axis { label: "percentile", marks: x.collect() };
    Ok(lines("Latency by percentile", &x, &y, &series, &[])?)
}

fn timeline(report: &Report) -> anyhow::Result<String> {
    let step = |step: &super::report::StepTime| Band { name: step.step.clone(), from: step.began, to: step.ended };
    let bands: Vec<_> = report.steps.iter().map(step).collect();
    let line = |name: &str, of: fn(&super::metrics::Second) -> u64| {
        #[expect(clippy::cast_precision_loss, reason = "for a plot")]
        let points = report.timeline.iter().map(of).map(|value| value as f64);
        Series { name: name.to_owned(), points: (0_u32..).map(|at| f64::from(at) + 0.5).zip(points).collect() }
    };
    let x = || Axis { label: "seconds", marks: marks(report.seconds.max(1.0)) };
    let plot = |title: &str, label, series: &[Series]| {
        let greatest = series.iter().flat_map(|series| &series.points).map(|point| point.1).fold(1.0, f64::max);
        lines(title, &x(), &Axis { label, marks: marks(greatest) }, series, &bands)
    };
    let mut html = plot(
        "Operations in each second",
        "a second",
        &[line("done", |second| second.done), line("failed tries", |second| second.failed)],
    )?;
    html.push_str(&plot(
        "Longest in each second",
        "milliseconds",
        &[line("longest", |second| second.longest_us / 1_000)],
    )?);
    html.push_str(&plot("Boxes with a connection", "boxes", &[line("connected", |second| second.connected)])?);
    Ok(html)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::report::tests::report;

    /// Every element that is opened is closed, in order.
    fn assert_well_formed(html: &str) {
        let mut open = Vec::new();
        for tag in html.split('<').skip(1) {
            let (tag, _) = tag.split_once('>').unwrap();
            let name = tag.trim_start_matches('/').split([' ', '/']).next().unwrap();
            match tag {
                _ if ["!DOCTYPE", "meta"].contains(&name) || tag.ends_with('/') => {}
                _ if tag.starts_with('/') => assert_eq!(open.pop(), Some(name), "{tag}"),
                _ => open.push(name),
            }
        }
        assert_eq!(open, Vec::<&str>::new());
    }

    #[test]
    fn the_page_is_whole_and_loads_nothing() {
        let html = page(&report("1/2")).unwrap();
        assert_well_formed(&html);
        assert_eq!(html.matches("<svg").count(), 4);
        assert_eq!(
            html.matches("http").count() - html.matches("http://www.w3.org/2000/svg").count(),
            1,
            "the server alone"
        );
        for loader in ["src=", "href=", "url(", "<script", "@import"] {
            assert!(!html.contains(loader), "{loader}");
        }
        assert!(html.contains("a &lt;note&gt; &amp; more"));
    }

    #[test]
    fn a_run_that_measured_nothing_has_a_page_too() {
        let mut empty = report("1/2");
        empty.rows.clear();
        empty.timeline.clear();
        empty.broken = vec!["<script>".to_owned()];
        empty.broken_count = 1;
        let html = page(&empty).unwrap();
        assert_well_formed(&html);
        assert!(html.contains("&lt;script&gt;") && html.contains("verdict bad"));
    }
}
