//! What each tool adds, as a picture: bars of medians with the quartiles over them.

use super::figures::{COSTS, Cost, Document};
use super::setting::Setting;
use crate::bench::plot::{Picture, Side};
use crate::bench::spread::Spread;

/// Size of the picture, and where its bars may be: left and right, and the top of the first.
const WIDTH: f64 = 900.0;
const SIDES: (f64, f64) = (268.0, 738.0);
const TOP: f64 = 52.0;
/// Of a cost: its heading, a row, a bar, half of a quartile's mark, and the space behind it.
const HEADING: f64 = 26.0;
const ROW: f64 = 24.0;
const BAR: f64 = 16.0;
const MARK: f64 = 5.0;
const GAP: f64 = 18.0;
/// Below the last.
const FOOT: f64 = 52.0;
/// More lines of the grid than this are too many.
const LINES: f64 = 9.0;

const TITLE: &str = "CPU time that is added, by what is attached";

/// A bar, if the setting's runs count.
struct Bar {
    setting: Setting,
    spread: Option<Spread>,
}

/// Nanoseconds from the left to the right.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Scale {
    low: f64,
    high: f64,
    /// Between two lines of the grid.
    step: f64,
}

/// All costs of all settings on one scale.
pub fn costs(document: &Document) -> String {
    let groups: Vec<(&Cost, Vec<Bar>)> = COSTS.iter().map(|c| (c, bars(document, c))).collect();
    let spreads = groups.iter().flat_map(|(_, bars)| bars);
    let scale = Scale::of(spreads.filter_map(|bar| bar.spread));
    let heights = groups.iter().map(|(_, bars)| height(bars));
    let bottom = TOP + heights.sum::<f64>() + GAP * (groups.len() - 1) as f64;
    let size = (WIDTH, bottom + FOOT);
    let mut picture = Picture::new(size, 16.0, TITLE, &description(&groups));
    let mut top = TOP;
    for (cost, bars) in &groups {
        picture.heading((16.0, top + 16.0), &heading(document, cost));
        let (first, last) = (top + HEADING, top + height(bars));
        for ns in scale.lines() {
            let class = if ns == 0.0 { "ink" } else { "grid" };
            let x = scale.x(ns);
            picture.path(class, &format!("M{x:.1} {first:.1}V{last:.1}"));
        }
        for (row, bar) in bars.iter().enumerate() {
            draw(&mut picture, scale, first + ROW * (row as f64 + 0.5), bar);
        }
        top = last + GAP;
    }
    for ns in scale.lines() {
        let place = (scale.x(ns), bottom + 20.0);
        picture.text(place, Side::Middle, &format!("{ns:.0}"));
    }
    picture.text(
        (f64::midpoint(SIDES.0, SIDES.1), bottom + 42.0),
        Side::Middle,
        "ns more than with nothing attached: median (bar) and quartiles (line)",
    );
    picture.finish()
}

fn bars(document: &Document, cost: &Cost) -> Vec<Bar> {
    let tools = document.settings.iter();
    tools
        .filter(|runs| runs.setting != Setting::Nothing)
        .map(|runs| Bar {
            setting: runs.setting,
            spread: document.cost(runs, cost.pick),
        })
        .collect()
}

fn height(bars: &[Bar]) -> f64 {
    HEADING + ROW * bars.len() as f64
}

/// The cost and what it is with nothing attached.
fn heading(document: &Document, cost: &Cost) -> String {
    let nothing = document.of(Setting::Nothing);
    let without = nothing.and_then(|runs| document.cost(runs, cost.pick));
    let without = without.map_or_else(String::new, |spread| {
        format!(" ({:.0} ns with nothing attached)", spread.median)
    });
    let mut what = cost.what.to_owned();
    what[..1].make_ascii_uppercase();
    format!("{what}{without}")
}

fn draw(picture: &mut Picture, scale: Scale, middle: f64, bar: &Bar) {
    let (zero, foot) = (scale.x(0.0), middle + 4.5);
    picture.text((SIDES.0 - 14.0, foot), Side::Left, &name(bar.setting));
    let Some(spread) = bar.spread else {
        picture.text((zero + 8.0, foot), Side::Right, "does not count");
        return;
    };
    let [low, median, high] = [spread.low, spread.median, spread.high].map(|ns| scale.x(ns));
    let class = if bar.setting == Setting::Gohang {
        "own"
    } else {
        "plain"
    };
    let corner = (median.min(zero), middle - BAR / 2.0);
    picture.rectangle(class, corner, ((median - zero).abs(), BAR));
    let (top, bottom) = (middle - MARK, middle + MARK);
    picture.path(
        "ink",
        &format!(
            "M{low:.1} {middle:.1}H{high:.1}M{low:.1} {top:.1}V{bottom:.1}\
             M{high:.1} {top:.1}V{bottom:.1}"
        ),
    );
    let right = high.max(zero) + 8.0;
    picture.text((right, foot), Side::Right, &figure(spread));
}

/// What the picture calls a setting: it has no `code`.
fn name(setting: Setting) -> String {
    setting.title().replace('`', "")
}

/// As the page has it.
fn figure(spread: Spread) -> String {
    format!("{}{spread:.0}", spread.sign())
}

fn description(groups: &[(&Cost, Vec<Bar>)]) -> String {
    let told = |bar: &Bar| {
        let figure = bar.spread.map_or("does not count".to_owned(), figure);
        format!("{} {figure}", name(bar.setting))
    };
    let group = |(cost, bars): &(&Cost, Vec<Bar>)| {
        let all: Vec<String> = bars.iter().map(told).collect();
        format!("{}: {}.", cost.what, all.join("; "))
    };
    let all: Vec<String> = groups.iter().map(group).collect();
    format!(
        "Medians, with quartiles in brackets, in ns more than with nothing attached. Of {}",
        all.join(" Of ")
    )
}

impl Scale {
    /// From zero, or below it, to above all.
    fn of(spreads: impl Iterator<Item = Spread>) -> Self {
        let (low, high) = spreads.fold((0.0, 0.0), |(low, high): (f64, f64), spread| {
            (low.min(spread.low), high.max(spread.high))
        });
        // A scale has a length, also of nothing.
        let high = high.max(1.0);
        let least = (high - low) / LINES;
        let power = 10f64.powf(least.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].map(|times| times * power);
        let step = step.into_iter().find(|step| *step >= least);
        Self {
            low,
            high,
            step: step.unwrap_or(least),
        }
    }

    fn x(self, ns: f64) -> f64 {
        let part = (ns - self.low) / (self.high - self.low);
        SIDES.0 + part * (SIDES.1 - SIDES.0)
    }

    /// Where the grid has lines.
    fn lines(self) -> impl Iterator<Item = f64> {
        let first = (self.low / self.step).ceil() as i64;
        let last = (self.high / self.step).floor() as i64;
        (first..=last).map(move |line| line as f64 * self.step)
    }
}

#[cfg(test)]
mod tests {
    use super::super::page::tests::{document, run};
    use super::*;

    fn spread(low: f64, median: f64, high: f64) -> Spread {
        Spread { low, median, high }
    }

    #[test]
    fn bars_begin_at_zero_and_end_at_the_median() {
        let scale = Scale::of([spread(-50.0, 10.0, 20.0), spread(300.0, 400.0, 450.0)].into_iter());
        assert_eq!((scale.low, scale.high, scale.step), (-50.0, 450.0, 100.0));
        assert_eq!(
            scale.lines().collect::<Vec<_>>(),
            [0.0, 100.0, 200.0, 300.0, 400.0]
        );
        assert_eq!((scale.x(-50.0), scale.x(450.0)), SIDES);
        let mut picture = Picture::new((1.0, 1.0), 0.0, "", "");
        for (setting, spread) in [
            (Setting::Perf, spread(300.0, 400.0, 450.0)),
            (Setting::Empty, spread(-50.0, -25.0, 20.0)),
        ] {
            let spread = Some(spread);
            draw(&mut picture, scale, 100.0, &Bar { setting, spread });
        }
        let text = picture.finish();
        let a_ns = (SIDES.1 - SIDES.0) / 500.0;
        let zero = SIDES.0 + 50.0 * a_ns;
        for (from, length) in [(zero, 400.0 * a_ns), (zero - 25.0 * a_ns, 25.0 * a_ns)] {
            let bar = format!("class=\"plain\" x=\"{from:.1}\" y=\"92.0\" width=\"{length:.1}\"");
            assert!(text.contains(&bar), "{bar}\n{text}");
        }
        let line = format!("M{:.1} 100.0H{:.1}", SIDES.0, zero + 20.0 * a_ns);
        assert!(text.contains(&line), "{line}\n{text}");
        assert!(text.contains(">-25 (-50 to 20)<") && text.contains(">+400 (300 to 450)<"));
    }

    #[test]
    fn a_scale_of_nothing_is_one() {
        let scale = Scale::of(std::iter::empty());
        assert!(scale.step > 0.0 && scale.x(0.0) == SIDES.0);
        assert!(scale.lines().count() < 12);
    }

    #[test]
    fn every_setting_is_there_with_every_cost() {
        let text = costs(&document(vec![run(1.0, 9), run(1.0, 9)]));
        for (name, times) in [
            ("gohang<", 3),
            ("does not count<", 3),
            ("bpftrace, delivery.bt<", 3),
        ] {
            assert_eq!(
                text.matches(&format!(">{name}")).count(),
                times,
                "{name}\n{text}"
            );
        }
        assert!(text.contains(">A switch, not traced (1000 ns with nothing attached)<"));
        assert!(text.contains("Of an episode: empty programs on gohang's hooks +10 (10 to 10);"));
    }
}
