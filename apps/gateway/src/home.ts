/** The page under `/`: what the shop is, and links to try it. */
export const homePage = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Bazar</title>
<style>
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 40rem; margin: 3rem auto; padding: 0 1rem }
</style>
</head>
<body>
<h1>Bazar</h1>
<p>An online bookstore. Every copy is sold exactly once.</p>
<ul>
<li><a href="/topics">The topics</a></li>
<li><a href="/search/distributed">The books on distributed systems</a></li>
<li><a href="/info/2">One book and its stock</a></li>
<li><form method="post" action="/purchase/2"><button>Buy a copy of it</button></form></li>
<li><a href="/docs">All routes</a></li>
</ul>
</body>
</html>
`;
