mod crash;
mod model;
mod plan;
