import type { FastifyInstance } from 'fastify';

interface Entry {
  readonly methods: readonly string[];
  readonly segments: readonly string[];
}

function matches(pattern: readonly string[], path: readonly string[]): boolean {
  return (
    pattern.length === path.length &&
    pattern.every((segment, index) =>
      segment.startsWith(':') ? path[index] !== '' : segment === path[index],
    )
  );
}

/**
 * Remembers the routes of an app as they are registered, to tell a wrong method (405, and which
 * would be right) from a wrong path (404). Wildcards are left out: they belong to plugins and would
 * make every path look known.
 */
export function rememberRoutes(app: FastifyInstance): (path: string) => string[] {
  const entries: Entry[] = [];
  app.addHook('onRoute', ({ method, url }) => {
    if (url.includes('*')) return;
    entries.push({ methods: [method].flat(), segments: url.split('/') });
  });
  return (path) => {
    const segments = path.split('/');
    const found = entries.filter((entry) => matches(entry.segments, segments));
    return [...new Set(found.flatMap((entry) => entry.methods))].sort();
  };
}
