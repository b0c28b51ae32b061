//! The API's description, from the handlers themselves.

use axum::Json;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi};

use super::{audit, events, hosts, jobs, pool, rates, services, tokens, units, volumes};

#[derive(OpenApi)]
#[openapi(
    info(title = "Outband station", description = "The control plane of an Outband pool.\n\n\
        With every change, `Outband-Reason` (UTF-8, one line) says why: jobs and the audit log keep \
        it. With every change that starts a job, `Outband-Deadline` says after how many seconds it \
        is taken back if it is not done. `If-Match` with the entity tag of a unit, host or volume \
        makes a change to it happen only if nobody was faster."),
    paths(
        pool::status, pool::join_token, pool::new_join_token, pool::doctor, pool::backup,
        units::list, units::show, units::approve, units::change, units::forget,
        units::remove,
        hosts::list, hosts::add, hosts::show, hosts::change, hosts::remove, hosts::take_over,
        hosts::resume,
        volumes::list, volumes::show, volumes::request, volumes::grow, volumes::release,
        volumes::assign, volumes::move_host, volumes::delete, volumes::place, volumes::adopt,
        volumes::forget,
        rates::list, rates::of_volume,
        services::list, services::set_log,
        jobs::list, jobs::show, jobs::cancel, jobs::retry,
        tokens::list, tokens::create, tokens::revoke,
        audit::list,
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
