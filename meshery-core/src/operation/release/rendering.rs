//! A chart whose values refer to Secrets: rendered with the secrets, and once more without, to see where they go.

use crate::cluster::chart::{Chart, RenderRequest, Rendered};
use crate::confidential::{Confidential, TELLING};
use crate::operation::plan::resolve::{Resolved, Resolver};
use crate::operation::secret::exposure::{Exposure, Sought};
use crate::operation::secret::reference::is_placeholder;
use crate::operation::secret::values::holds_text;
use crate::problem::{Problem, ProblemKind};

impl Resolver<'_> {
    /// Renders a chart, and puts into the request what its values refer to. With the objects that would have that in the open.
    pub(in crate::operation) async fn rendered(
        &self,
        chart: &Chart,
        request: &mut RenderRequest,
    ) -> Result<(Rendered, Vec<Exposure>), Problem> {
        let hidden = self.not_told(chart, request);
        let wanted = |placeholder: &str| {
            request
                .values
                .values()
                .any(|value| holds_text(value, placeholder))
        };
        let values = self.references.read(self.cluster, wanted).await?;
        if values.is_empty() {
            let rendered = self.charts.render_confidential(chart, request, &hidden).await?;
            return Ok((rendered, Vec::new()));
        }
        let placeholders = request.clone();
        values.put_into_map(&mut request.values);
        let (with, without) = tokio::join!(
            self.charts.render_confidential(chart, request, &hidden),
            self.charts.render_confidential(chart, &placeholders, &hidden)
        );
        let with = match (with, without.as_ref()) {
            (Ok(with), _) => with,
            // What helm says of this one has no secret in it.
            (Err(_), Err(_)) => {
                let problem = without.err().map(Problem::from).unwrap_or_default();
                return Err(self.references.name_references_in(problem));
            }
            (Err(_), Ok(_)) => return Err(refused(chart)),
        };
        let mut exposures: Vec<Exposure> = Vec::new();
        let mut look = |rendered: &Rendered, sought: &[Sought]| {
            for object in everything(rendered) {
                if let Some(exposure) = Exposure::of(object, sought) {
                    Exposure::join(&mut exposures, exposure);
                }
            }
        };
        let by_placeholder: Vec<Sought> = values
            .iter()
            .map(|(placeholder, _)| Sought::placeholder(placeholder))
            .collect();
        if let Ok(without) = &without {
            look(without, &by_placeholder);
        }
        let by_value: Vec<Sought> = values
            .iter()
            .map(|(_, value)| value)
            .filter(|value| value.len() >= TELLING || without.is_err() && !value.is_empty())
            .map(Sought::secret)
            .collect();
        look(&with, &by_value);
        Ok((with, exposures))
    }

    /// What of a chart's values nobody is told by an error: all that comes from people, unless it is said openly elsewhere.
    fn not_told(&self, chart: &Chart, request: &RenderRequest) -> Confidential {
        let mut texts = Confidential::default();
        request.values.values().for_each(|value| texts.add(value));
        self.open.values().for_each(|value| texts.leave_out(value));
        texts.leave_out(&chart.default_values());
        texts.retain(|text| {
            !is_placeholder(text) && ![&request.release, &request.namespace].contains(&&text.to_owned())
        });
        texts
    }

    /// Takes down which objects would have secrets in the open, and that somebody has to agree to it.
    pub(in crate::operation) fn expose(&self, exposures: Vec<Exposure>, by: &str, resolved: &mut Resolved) {
        for exposure in exposures {
            resolved.plan.exposed.push(exposure.object.clone());
            resolved.needs_consent.push(exposure.needed(by, self.references));
        }
    }
}

fn everything(rendered: &Rendered) -> impl Iterator<Item = &serde_json::Value> {
    let hooks = rendered.hooks.iter().chain(&rendered.tests);
    rendered
        .objects
        .iter()
        .map(|object| &object.value)
        .chain(hooks.map(|hook| &hook.value))
}

/// With a placeholder it can be rendered, with the secret it cannot; helm's own words may have the secret in them.
fn refused(chart: &Chart) -> Problem {
    Problem::new(
        ProblemKind::Invalid,
        "secret-ref-refused",
        format!(
            "chart {} {} cannot be rendered with what its values refer to; with any other text it can",
            chart.name, chart.version
        ),
    )
    .cause("the chart checks the value, or reads it as something that it is not; what helm said may hold the secret")
    .remedy("see what the chart expects of the value, and correct the Secret")
}
