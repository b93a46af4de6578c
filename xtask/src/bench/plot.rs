//! What the pages' pictures (SVG) have in common: words for those who do not see them, colours
//! for light and dark, lines of the grid with their names.

use std::fmt::Write as _;

/// Kinds of colours for data: a picture's `series` below this differ.
pub const SERIES: usize = 6;

/// Colours that people who see few of them tell apart (Okabe and Ito), and lighter ones of the
/// same hues where the ground is dark. A picture has its own ground: what looks at it may not tell
/// of the page's.
const STYLE: &str = "\
.ground{fill:#ffffff}\n\
.grid{fill:none;stroke:#dddddd}\n\
text{fill:#1f2328}\n\
.ink{fill:none;stroke:#1f2328;stroke-width:1.5}\n\
.curve{fill:none;stroke-width:2}\n\
.plain{fill:#b4bcc6}\n\
.own{fill:#56b4e9}\n\
.s0{stroke:#0072b2}.s1{stroke:#009e73}.s2{stroke:#e69f00}\
.s3{stroke:#d55e00}.s4{stroke:#cc79a7}.s5{stroke:#56b4e9}\n\
@media (prefers-color-scheme:dark){\n\
.ground{fill:#0d1117}\n\
.grid{stroke:#30363d}\n\
text{fill:#e6edf3}\n\
.ink{stroke:#f0f6fc}\n\
.plain{fill:#545d68}\n\
.own{fill:#0072b2}\n\
.s0{stroke:#56a5dc}.s1{stroke:#2fc79b}.s3{stroke:#f0883e}\n\
}\n";

/// Where a text stands, seen from its place.
#[derive(Debug, Clone, Copy)]
pub enum Side {
    /// To the right of it.
    Right,
    /// To both sides.
    Middle,
    /// To the left of it.
    Left,
}

/// A picture that is drawn. Places are in user units from the upper left corner.
#[derive(Debug)]
pub struct Picture {
    text: String,
}

impl Picture {
    /// An empty one with its title above at `left`; screen readers read title and description.
    pub fn new((width, height): (f64, f64), left: f64, title: &str, description: &str) -> Self {
        let (title, description) = (escape(title), escape(description));
        let mut picture = Self {
            text: format!(
                "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" \
                 role=\"img\" aria-labelledby=\"title description\" font-family=\"sans-serif\" \
                 font-size=\"13\">\n\
                 <title id=\"title\">{title}</title>\n\
                 <desc id=\"description\">{description}</desc>\n\
                 <style>\n{STYLE}</style>\n"
            ),
        };
        picture.rectangle("ground", (0.0, 0.0), (width, height));
        picture.line(format_args!(
            "<text x=\"{left:.1}\" y=\"28.0\" font-size=\"16\">{title}</text>"
        ));
        picture
    }

    /// A filled rectangle, from its upper left corner.
    pub fn rectangle(&mut self, class: &str, (x, y): (f64, f64), (width, height): (f64, f64)) {
        self.line(format_args!(
            "<rect class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" \
             height=\"{height:.1}\"/>"
        ));
    }

    /// A line, as SVG has its path.
    pub fn path(&mut self, class: &str, path: &str) {
        self.line(format_args!("<path class=\"{class}\" d=\"{path}\"/>"));
    }

    /// The line of one of [`SERIES`] kinds of data.
    pub fn curve(&mut self, series: usize, dashed: bool, path: &str) {
        let dash = if dashed {
            " stroke-dasharray=\"6 4\""
        } else {
            ""
        };
        self.line(format_args!(
            "<path class=\"curve s{}\" d=\"{path}\"{dash}/>",
            series % SERIES
        ));
    }

    /// A text whose foot is at that height.
    pub fn text(&mut self, (x, y): (f64, f64), side: Side, text: &str) {
        let anchor = match side {
            Side::Right => "",
            Side::Middle => " text-anchor=\"middle\"",
            Side::Left => " text-anchor=\"end\"",
        };
        self.line(format_args!(
            "<text x=\"{x:.1}\" y=\"{y:.1}\"{anchor}>{}</text>",
            escape(text)
        ));
    }

    /// A text in bold that stands to the right of its place.
    pub fn heading(&mut self, (x, y): (f64, f64), text: &str) {
        self.line(format_args!(
            "<text x=\"{x:.1}\" y=\"{y:.1}\" font-weight=\"bold\">{}</text>",
            escape(text)
        ));
    }

    /// A vertical line of the grid, with its name below.
    pub fn vertical(&mut self, x: f64, (top, bottom): (f64, f64), name: &str) {
        self.path("grid", &format!("M{x:.1} {top:.1}V{bottom:.1}"));
        self.text((x, bottom + 20.0), Side::Middle, name);
    }

    /// A horizontal line of the grid, with its name on the left.
    pub fn horizontal(&mut self, y: f64, (left, right): (f64, f64), name: &str) {
        self.path("grid", &format!("M{left:.1} {y:.1}H{right:.1}"));
        self.text((left - 8.0, y + 4.0), Side::Left, name);
    }

    /// The whole file.
    pub fn finish(mut self) -> String {
        self.text.push_str("</svg>\n");
        self.text
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.text, "{line}");
    }
}

/// Text in XML.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_has_words_and_cannot_be_broken_by_its_texts() {
        let mut picture = Picture::new((10.0, 20.0), 1.0, "a < b", "c & d");
        picture.text((1.0, 2.0), Side::Left, "</svg>");
        let text = picture.finish();
        for part in [
            "<title id=\"title\">a &lt; b</title>",
            "<desc id=\"description\">c &amp; d</desc>",
            "text-anchor=\"end\">&lt;/svg&gt;</text>",
        ] {
            assert!(text.contains(part), "{part}\n{text}");
        }
        assert_eq!(text.matches("</svg>").count(), 1);
    }

    #[test]
    fn dark_ground_changes_every_colour_that_light_ground_has() {
        let (light, dark) = STYLE.split_once("@media").expect("both");
        for class in [".ground", ".grid", "text", ".ink", ".plain", ".own"] {
            assert!(light.contains(&format!("{class}{{")), "{class}");
            assert!(dark.contains(&format!("{class}{{")), "{class}");
        }
        for series in 0..SERIES {
            assert!(light.contains(&format!(".s{series}{{")), "{series}");
        }
    }
}
