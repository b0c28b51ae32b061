//! The API's description, from the handlers themselves.

use axum::Json;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi};

use super::{events, hosts, jobs, pool, units, volumes};

#[derive(OpenApi)]
#[openapi(
    info(title = "Outband station", description = "The control plane of an Outband pool."),
    paths(
        pool::status, pool::join_token, pool::new_join_token,
        units::list, units::show, units::approve, units::remove,
        hosts::list, hosts::add, hosts::show, hosts::remove,
        volumes::list, volumes::show, volumes::request, volumes::grow, volumes::release,
        volumes::assign, volumes::delete,
        jobs::list, jobs::show,
        events::list,
    ),
    modifiers(&Bearer),
    security(("token" = []))
)]
pub(super) struct Description;

struct Bearer;

impl Modify for Bearer {
    fn modify(&self, api: &mut utoipa::openapi::OpenApi) {
        let scheme = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build();
        let components = api.components.get_or_insert_default();
        components.add_security_scheme("token", SecurityScheme::Http(scheme));
    }
}

pub(super) async fn show() -> Json<utoipa::openapi::OpenApi> {
    Json(Description::openapi())
}
