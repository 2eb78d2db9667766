SwaggerUIBundle({
  url: document.getElementById("page").dataset.document,
  domNode: document.getElementById("page"),
  deepLinking: true,
  validatorUrl: null,
});
