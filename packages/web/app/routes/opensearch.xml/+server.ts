import { file } from "$lib/server/answers";
import type { RequestHandler } from "./$types";

/** Lets browsers offer the search in their address bar. */
export const GET: RequestHandler = ({ locals }) =>
  file(
    `<?xml version="1.0" encoding="UTF-8"?>
<OpenSearchDescription xmlns="http://a9.com/-/spec/opensearch/1.1/">
<ShortName>Prior Art</ShortName>
<Description>Papers that run</Description>
<Url type="text/html" template="${locals.site.address}/search?q={searchTerms}"/>
</OpenSearchDescription>
`,
    "application/opensearchdescription+xml; charset=utf-8",
    { seconds: 86_400 },
  );
