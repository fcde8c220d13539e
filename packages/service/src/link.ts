/**
 * The value of a `Link` header (RFC 8288) that names the next page. The caller percent-encodes the
 * segments of `path`, because only it knows which slash separates and which belongs to a name; a
 * character that no URI may hold is encoded here all the same, so that the header stays ASCII.
 * Parameters are encoded, undefined ones left out.
 */
export function nextLink(
  path: string,
  query: Readonly<Record<string, string | number | undefined>>,
): string {
  const parameters = Object.entries(query)
    .filter(([, value]) => value !== undefined)
    .map(([key, value]) => `${encodeURIComponent(key)}=${encodeURIComponent(String(value))}`);
  // encodeURI also escapes the percent signs of what is encoded already: those are put back.
  const target = encodeURI(path).replaceAll(/%25([0-9A-F]{2})/gi, '%$1');
  return `<${target}${parameters.length > 0 ? `?${parameters.join('&')}` : ''}>; rel="next"`;
}
