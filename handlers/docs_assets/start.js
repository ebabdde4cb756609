// Shows this daemon's own API document in the page.
window.addEventListener("load", () => {
  SwaggerUIBundle({
    url: "/v1/openapi.json",
    dom_id: "#document",
    deepLinking: true,
    validatorUrl: null,
    tryItOutEnabled: true,
  });
});
