/**
 * What browsers are told to be careful about: the headers that Helmet sets (its defaults of version
 * 8), as far as they do something. Each list is made once, for every header costs every answer.
 *
 * Left out everywhere, because browsers heed them only where the connection, or the host, is trusted:
 * Strict-Transport-Security, which belongs to whoever ends TLS, Cross-Origin-Opener-Policy,
 * Origin-Agent-Cluster, and of the policy `upgrade-insecure-requests`, which over plain HTTP would
 * ask for styles and scripts where nobody listens.
 */

/**
 * Of every answer. Data is no page: it can neither run nor load nor frame anything, and may not be
 * taken for what could. What else Helmet sets has no effect on data.
 */
export const securityHeaders = Object.freeze({
  'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
  'x-content-type-options': 'nosniff',
});

/**
 * Of a page, and of what it loads. Its styles may stand in it, as those of the documents' pages do;
 * its scripts may not. Nobody may frame it, for a button on it buys.
 */
export const pageSecurityHeaders = Object.freeze({
  'content-security-policy': [
    "default-src 'self'",
    "base-uri 'self'",
    "font-src 'self' data:",
    "form-action 'self'",
    "frame-ancestors 'none'",
    "img-src 'self' data:",
    "object-src 'none'",
    "script-src 'self'",
    "script-src-attr 'none'",
    "style-src 'self' 'unsafe-inline'",
  ].join('; '),
  'cross-origin-resource-policy': 'same-origin',
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff',
  'x-dns-prefetch-control': 'off',
  'x-download-options': 'noopen',
  'x-frame-options': 'DENY',
  'x-permitted-cross-domain-policies': 'none',
  'x-xss-protection': '0',
});
