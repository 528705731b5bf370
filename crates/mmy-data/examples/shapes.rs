//! Draws the default shapes data set: `shapes FOLDER [CONFIG AS JSON]`.
use std::time::Instant;

use mmy_data::{ShapesConfig, make_shapes};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let folder = args.next().ok_or("which folder?")?;
    let config: ShapesConfig = serde_json::from_str(&args.next().unwrap_or_else(|| "{}".into()))?;
    let start = Instant::now();
    let outcome = make_shapes(folder.as_ref(), &config, &|_, _| ())?;
    println!("{outcome:?} in {:.1} s", start.elapsed().as_secs_f64());
    Ok(())
}
