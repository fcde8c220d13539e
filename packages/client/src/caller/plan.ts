import { type Route, successStatus } from '@bazar/contracts';

/** What of a route is the same for all its calls. */
export interface Plan {
  readonly name: string;
  /** What messages call the route. It names no address, since messages travel on to callers. */
  readonly label: string;
  readonly method: Route['method'];
  /** The path, cut at its parameters: every second part is the name of one. */
  readonly path: readonly string[];
  readonly status: number;
  /** The media type of the success; undefined when it has no body. */
  readonly mediaType: string | undefined;
  readonly declared: Route['schema']['response'];
}

/** @throws TypeError when the route does not declare exactly one success. */
export function planOf(name: string, route: Route): Plan {
  const { method, url, schema } = route;
  const status = successStatus(route);
  return {
    name,
    label: `${method} ${url}`,
    method,
    path: url.split(/:(\w+)/),
    status,
    mediaType: Object.keys(schema.response[status]?.content ?? {})[0],
    declared: schema.response,
  };
}
